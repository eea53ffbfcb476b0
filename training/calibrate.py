"""Measures a pack's error rates over labelled people, and writes the curve that the service quotes.

    python -m training.calibrate people/ --pack sface --detector yunet-onet --data "people in the wild, 208"

DIR holds a folder per person. Every photograph is compared with every other one, so 200 people with 20
photographs each give millions of non-mated comparisons; the people must be none that the pack is reported on.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from facesvc.bootstrap import load_pack, open_extractor
from facesvc.config import Settings
from facesvc.core import metrics
from facesvc.core.decide import Calibration
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice, Vectors
from facesvc.models import calibration
from facesvc.pipeline.many import extract_files

STEP = 0.01
"""Distance between two points of the curve."""
BLOCK = 512
"""Rows of the comparison matrix at once."""


def embed_people(extractor: Extractor, folder: Path, workers: int) -> tuple[Vectors, NDArray[np.int64], int]:
    """Templates (n 128) of all photographs in folder/<person>/, the person's number (n,), and the failures."""
    people = sorted(path for path in folder.iterdir() if path.is_dir())
    number = {person: i for i, person in enumerate(people)}
    files = [file for person in people for file in sorted(person.iterdir()) if file.suffix.lower() in {".jpg", ".png"}]
    results = extract_files(extractor, files, FaceChoice.PROMINENT, workers)
    vectors, labels = [], []
    for file, result in track(results, "photographs", total=len(files), console=Console(stderr=True)):
        if isinstance(result, Capture):
            vectors.append(result.samples[0].template.vector)
            labels.append(number[file.parent])
    return np.stack(vectors), np.array(labels), len(files) - len(vectors)


def all_distances(vectors: Vectors, labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared L2 of all mated and of all non-mated pairs: ((m,), (n,)). By the inner product, so to about 1e-6."""
    mated, non_mated = zip(*_blocks(vectors.astype(np.float64), labels), strict=True)
    return np.concatenate(mated), np.concatenate(non_mated)


def _blocks(
    vectors: NDArray[np.float64], labels: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    squares = np.square(vectors).sum(axis=1)
    for start in range(0, len(vectors), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(vectors)))
        distances = squares[rows, None] + squares[None] - 2 * vectors[rows] @ vectors.T
        later = np.arange(len(vectors))[None] > rows[:, None]  # each pair once, none with itself
        same = labels[rows, None] == labels[None]
        yield np.maximum(distances[later & same], 0), np.maximum(distances[later & ~same], 0)


def calibrate(
    vectors: Vectors, labels: NDArray[np.int64], template_version: str, norm: float, data: str
) -> Calibration:
    """The curve of FMR and FNMR over all distances that vectors of length ``norm`` can have."""
    mated, non_mated = all_distances(vectors, labels)
    thresholds = np.arange(0, 4 * norm**2 + STEP, STEP).round(6)
    fmr, fnmr = metrics.error_curve(mated, non_mated, thresholds)
    people = len(np.unique(labels))
    return calibration.create(
        template_version=template_version,
        distances=thresholds,
        fmr=fmr.round(9),
        fnmr=fnmr.round(9),
        non_mated=len(non_mated),
        mated=len(mated),
        independent=people * (people - 1) // 2,
        data=f"{data}: {people} people, {len(labels)} photographs",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder per person")
    parser.add_argument("--pack", default="sface")
    parser.add_argument("--detector", default=None)
    parser.add_argument("--data", default="labelled people", help="name of the data, kept in the calibration")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=None, help="default: where the packages' own are kept")
    arguments = parser.parse_args()
    settings = Settings(pack=arguments.pack, detector=arguments.detector, workers=arguments.workers)
    pack = load_pack(settings)
    with open_extractor(settings, pack) as extractor:
        vectors, labels, failures = embed_people(extractor, arguments.folder, arguments.workers)
    measured = calibrate(vectors, labels, pack.template_version, pack.manifest.norm, arguments.data)
    output = arguments.output or calibration.COMMITTED / f"{pack.manifest.name}.json"
    calibration.save(output, measured)
    report(measured, pack.manifest.threshold, failures)
    print(f"written to {output}")


def report(measured: Calibration, threshold: float, failures: int) -> None:
    print(f"{measured.data}; {failures} photographs without a usable face")
    print(f"{measured.mated} mated and {measured.non_mated} non-mated comparisons")
    print(f"at {threshold:g}: FMR {measured.fmr_at(threshold):.5%}, FNMR {measured.fnmr_at(threshold):.3%}")
    for target in (1e-2, 1e-3):
        at = measured.threshold_for(target)
        print(f"FMR {target:g} at {at:g}: FNMR {measured.fnmr_at(at):.3%}")


if __name__ == "__main__":
    main()
