"""What templates of 128 bytes cost: the same pairs compared by float32 and by int8 templates, side by side.

    python -m training.quantisation --pairs lfw/pairs.txt --images lfw/ --pack sface

A photograph that fails to enrol matches nobody, in both columns. On the 3,000 pairs of LFW's folds 1 to 5 sface keeps
its accuracy of 99.53 %, TAR and FMR to the last pair and decides one pair otherwise; a distance changes by 0.0035 (root
mean square), at most by 0.013.

Templates in 128 bytes: one signed byte a component.

FaceNet (Schroff et al. 2015, section 5.3) states that its 128-d vectors "can be quantized to 128-bytes without loss of
accuracy". Here the step is one for all components and all vectors, so bytes of one pack can be compared as they are:
the squared L2 of two byte vectors is that of the templates divided by STEP^2.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facesvc.bootstrap import load_pack, open_extractor
from facesvc.config import Settings
from facesvc.core import metrics
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice, Vectors
from facesvc.errors import FaceServiceError, RequestError
from facesvc.evaluation.datasets import Pair, read_pairs
from facesvc.pipeline.extract import extract_files

Bytes = NDArray[np.int8]
"""(n d) int8, -127..127."""

STEP = 1 / 256
"""Between two neighbouring values. Components from -127/256 to 127/256 fit; what is larger is cut to the largest value.
Those of a unit vector in 128 dimensions are about 1/sqrt(128) = 0.09 large."""
LARGEST = 127


def to_bytes(vectors: Vectors) -> Bytes:
    """(n d) float32 of unit length -> (n d) int8: each component over STEP, rounded to even, cut to -127..127.

    Raises ValueError for vectors that are not of unit length.
    """
    values = np.asarray(vectors, np.float64)
    if not np.allclose(np.linalg.norm(values, axis=-1), 1, rtol=0, atol=1e-3):
        raise ValueError("only unit vectors fit the step; divide templates by their pack's norm")
    return np.clip(np.rint(values / STEP), -LARGEST, LARGEST).astype(np.int8)


def from_bytes(quantised: Bytes) -> Vectors:
    """(n d) int8 -> (n d) float32, of nearly unit length.

    Where nothing was cut each component is within STEP / 2 of what it was, so the root of a distance of two vectors
    changes by at most STEP sqrt(d): 0.044 in 128 dimensions. Rounding errors of many components nearly cancel: the
    usual change is a tenth of that.
    """
    return quantised.astype(np.float32) * np.float32(STEP)


Distances = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rates:
    """All 0..1; fmr and fnmr at the threshold."""

    accuracy: float
    tar_at_1e2: float
    tar_at_1e3: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, slots=True)
class Cost:
    """largest_change, usual_change: of a pair's distance, the latter the root of the mean square; decisions: pairs that
    are decided otherwise; cut: components beyond the largest byte; largest_component: of any unit vector."""

    pairs: int
    failures: int
    threshold: float
    float32: Rates
    int8: Rates
    largest_change: float
    usual_change: float
    decisions: int
    cut: int
    largest_component: float


def cost(
    vectors: Mapping[Path, Vectors], pairs: Sequence[Pair], threshold: float, failures: int = 0, norm: float = 1.0
) -> Cost:
    """vectors: unit (128,) of each photograph that enrolled; norm: length of the templates whose threshold it is."""
    files = sorted(vectors)
    unit = np.stack([vectors[file] for file in files])
    quantised = to_bytes(unit)
    mated, folds = (np.array([getattr(pair, name) for pair in pairs]) for name in ("mated", "fold"))
    before, after = (
        _distances(dict(zip(files, set_of, strict=True)), pairs, norm) for set_of in (unit, from_bytes(quantised))
    )
    change = after - before
    return Cost(
        pairs=len(pairs),
        failures=failures,
        threshold=threshold,
        float32=_rates(before, mated, folds, threshold),
        int8=_rates(after, mated, folds, threshold),
        largest_change=float(np.abs(change).max()),
        usual_change=float(np.sqrt(np.square(change).mean())),
        decisions=int(((before < threshold) != (after < threshold)).sum()),
        cut=int((np.abs(quantised) == LARGEST).sum()),
        largest_component=float(np.abs(unit).max()),
    )


def _distances(vectors: Mapping[Path, Vectors], pairs: Sequence[Pair], norm: float) -> Distances:
    """(n,) squared L2, the largest possible where a photograph has no vector."""
    return norm**2 * np.array(
        [
            float(np.square(vectors[pair.first].astype(np.float64) - vectors[pair.second]).sum())
            if {pair.first, pair.second} <= vectors.keys()
            else 4.0
            for pair in pairs
        ]
    )


def _rates(distances: Distances, mated: NDArray[np.bool_], folds: NDArray[np.int64], threshold: float) -> Rates:
    same, different = distances[mated], distances[~mated]
    return Rates(
        metrics.fold_accuracy(distances, mated, folds).mean,
        metrics.tar_at_fmr(same, different, 1e-2),
        metrics.tar_at_fmr(same, different, 1e-3),
        metrics.fmr(different, threshold),
        metrics.fnmr(same, threshold),
    )


def embed(extractor: Extractor, images: Path, pairs: Sequence[Pair], workers: int) -> tuple[dict[Path, Vectors], int]:
    """The unit vector (128,) of each photograph of the pairs, and how many failed to enrol.

    Raises RequestError where a photograph is missing.
    """
    files = sorted({pair.first for pair in pairs} | {pair.second for pair in pairs})
    missing = [file for file in files if not (images / file).is_file()]
    if missing:
        raise RequestError(f"{missing[0]} is in the pair list but not in the image folder")
    results = extract_files(extractor, [images / file for file in files], FaceChoice.PROMINENT, workers)
    shown = track(results, "photographs", total=len(files), console=Console(stderr=True))
    vectors = {
        file.relative_to(images): result.samples[0].template.vector / np.float32(extractor.norm)
        for file, result in shown
        if isinstance(result, Capture)
    }
    return vectors, len(files) - len(vectors)


def report(found: Cost) -> Table:
    table = Table("", "float32, 512 bytes", "int8, 128 bytes")
    titles = (
        ("accuracy", "accuracy over the folds"),
        ("tar_at_1e2", "TAR at FMR 1e-2"),
        ("tar_at_1e3", "TAR at FMR 1e-3"),
        ("fmr", f"FMR at {found.threshold:g}"),
        ("fnmr", f"FNMR at {found.threshold:g}"),
    )
    for field, title in titles:
        table.add_row(title, f"{getattr(found.float32, field):.4%}", f"{getattr(found.int8, field):.4%}")
    table.caption = (
        f"{found.pairs} pairs, {found.decisions} decided otherwise; distances change by {found.usual_change:.4f} (root "
        f"mean square), at most {found.largest_change:.4f}; components up to {found.largest_component:.3f}, "
        f"{found.cut} cut; {found.failures} photographs failed to enrol"
    )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    folder = {"data": asked.data} if asked.data else {}
    settings = Settings(pack=asked.pack, workers=asked.workers, **folder)
    try:
        pairs, pack = read_pairs(asked.pairs), load_pack(settings)
        with open_extractor(settings, pack) as extractor:
            vectors, failures = embed(extractor, asked.images, pairs, asked.workers)
        found = cost(vectors, pairs, pack.manifest.threshold, failures, pack.manifest.norm)
    except FaceServiceError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 2
    if asked.json:
        print(json.dumps({"pack": pack.manifest.name, "template_version": pack.template_version, **asdict(found)}))
    else:
        Console().print(report(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.quantisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=Path, required=True, help="pair list in LFW's format")
    parser.add_argument("--images", type=Path, required=True, help="folder of its photographs")
    parser.add_argument("--pack", default=None, help="default: the one in use")
    parser.add_argument("--data", type=Path, default=None, help="data folder with the packs; default: the service's")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
