"""Measures a pack's error rates over labelled people, and writes the curve that the service quotes.

    python -m training.calibrate people/ --pack sface --data "people in the wild"
    python -m training.calibrate people/ --pack mine --parts validation --seed 7 --report mine.png

DIR holds a folder per person. Every photograph is compared with every other one, so 200 people with 20 photographs
each give millions of non-mated comparisons. The people must be none that the pack was trained on: name them
(--subjects), or the parts of the training's own split that they are in (--parts, with the training's seed and shares).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from facesvc.bootstrap import load_pack, open_extractor
from facesvc.config import Settings
from facesvc.core.decide import Calibration
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice, Vectors
from facesvc.errors import FaceServiceError, RequestError, TargetFmrUnsupported
from facesvc.models import calibration
from facesvc.models.packs import Pack
from facesvc.pipeline.extract import extract_files
from training.calibration.fit import fit_scale, measure
from training.calibration.plot import draw
from training.data.folders import Photograph, read_folder
from training.data.splits import TEST, TRAIN, VALIDATION, split

TARGETS = (1e-2, 1e-3, 1e-4)
SIDES = (VALIDATION, TEST, TRAIN)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """vectors: (n 128) of the pack's norm; subjects: (n,); failures: name of a photograph -> error code."""

    vectors: Vectors
    subjects: list[str]
    failures: dict[str, str]


def embed(extractor: Extractor, photographs: Sequence[Photograph], workers: int) -> Embedded:
    """The template of the most prominent face of each photograph. Raises RequestError where there is none at all."""
    results = extract_files(extractor, [p.file for p in photographs], FaceChoice.PROMINENT, workers)
    shown = track(results, "photographs", total=len(photographs), console=Console(stderr=True))
    vectors, subjects, failures = [], [], {}
    for photograph, (_, result) in zip(photographs, shown, strict=True):
        if isinstance(result, Capture):
            vectors.append(result.samples[0].template.vector)
            subjects.append(photograph.subject)
        else:
            failures[photograph.name] = result.code
    if not vectors:
        raise RequestError("none of the photographs has a usable face")
    return Embedded(np.stack(vectors), subjects, failures)


def read_subjects(path: Path) -> frozenset[str]:
    """Names, one a line; blank lines don't count. Raises RequestError where the file can't be read."""
    try:
        return frozenset(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} can't be read: {error}") from error


def select(photographs: Sequence[Photograph], wanted: frozenset[str]) -> list[Photograph]:
    """The photographs of these subjects. Raises RequestError naming those who have none."""
    if missing := sorted(wanted - {p.subject for p in photographs}):
        raise RequestError(f"no photographs of {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}")
    return [p for p in photographs if p.subject in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        measured = calibrate(asked)
    except FaceServiceError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 2
    print(json.dumps(measured) if asked.json else told(measured))
    return 0


def calibrate(asked: argparse.Namespace) -> dict[str, Any]:
    """Everything that the command does: photographs to templates to the curve, its file and its plot."""
    photographs = _photographs(asked)
    settings = Settings(pack=asked.pack, detector=asked.detector, workers=asked.workers)
    pack = load_pack(settings)
    with open_extractor(settings, pack) as extractor:
        embedded = embed(extractor, photographs, asked.workers)
    curve = measure(
        embedded.vectors,
        embedded.subjects,
        template_version=pack.template_version,
        norm=pack.manifest.norm,
        data=f"{asked.data}, {'+'.join(asked.parts)} of split {asked.seed}" if asked.parts else asked.data,
        resamples=asked.resamples,
    )
    output: Path = asked.output or _own(settings, pack)
    output.parent.mkdir(parents=True, exist_ok=True)
    calibration.save(output, curve)
    if asked.report:
        draw(asked.report, curve, pack.manifest.threshold, pack.manifest.title)
    return summary(curve, pack.manifest.threshold) | {"failures": embedded.failures, "file": str(output)}


def _own(settings: Settings, pack: Pack) -> Path:
    """Where the service finds it: among the user's own, a file for each template version."""
    return settings.packs / "calibrations" / f"{pack.manifest.name}-{pack.template_version[-8:]}.json"


def _photographs(asked: argparse.Namespace) -> list[Photograph]:
    photographs = read_folder(asked.folder, review=asked.review)
    if asked.subjects:
        photographs = select(photographs, read_subjects(asked.subjects))
    if asked.parts:
        side = split({p.subject for p in photographs}, asked.seed, asked.validation, asked.test)
        photographs = select(photographs, frozenset(name for name, part in side.items() if part in asked.parts))
    return photographs


def summary(curve: Calibration, threshold: float) -> dict[str, Any]:
    """The figures of a calibration that people ask for, ready for JSON."""
    return {
        "calibration": curve.id,
        "template_version": curve.template_version,
        "data": curve.data,
        "mated": curve.mated,
        "non_mated": curve.non_mated,
        "pairs_of_people": curve.independent,
        "smallest_fmr": curve.smallest_fmr,
        "at_threshold": rates(curve, threshold),
        "at_fmr": {f"{target:.0e}": _at_target(curve, target) for target in TARGETS},
    }


def rates(curve: Calibration, threshold: float) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "fmr": curve.claimed_fmr(threshold),
        "fmr_interval": curve.claimed_interval(threshold),
        "fnmr": curve.fnmr_at(threshold),
        "fnmr_interval": curve.fnmr_interval(threshold),
    }


def _at_target(curve: Calibration, target: float) -> dict[str, Any] | None:
    """The rates where the FMR is on target, and the factor that would put its high end at 1.1; None if unsupported."""
    try:
        return rates(curve, curve.threshold_for(target)) | {"scale": fit_scale(curve.distances, curve.fmr_high, target)}
    except TargetFmrUnsupported:
        return None


def told(measured: dict[str, Any]) -> str:
    targets = measured["at_fmr"].items()
    lines = [
        f"{measured['data']}; {len(measured['failures'])} photographs without a usable face",
        f"{measured['mated']:,} mated and {measured['non_mated']:,} non-mated comparisons, "
        f"the latter of {measured['pairs_of_people']:,} pairs of people",
        f"at the threshold: {_line(measured['at_threshold'])}",
        *(f"for FMR {target}: {_line(found) if found else 'too few people to say'}" for target, found in targets),
        f"calibration {measured['calibration']} written to {measured['file']}",
    ]
    return "\n".join(lines)


def _line(found: dict[str, Any]) -> str:
    (fmr_low, fmr_high), (fnmr_low, fnmr_high) = found["fmr_interval"], found["fnmr_interval"]
    return (
        f"{found['threshold']:g}, FMR {found['fmr']:.4%} ({fmr_low:.4%} to {fmr_high:.4%}), "
        f"FNMR {found['fnmr']:.2%} ({fnmr_low:.2%} to {fnmr_high:.2%})"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder per person")
    parser.add_argument("--pack", help="default: the one in use")
    parser.add_argument("--detector", help="another than the pack's own")
    parser.add_argument("--data", default="labelled people", help="name of the data, kept in the calibration")
    parser.add_argument("--review", type=Path, help="what training.clean found and people decided, JSON")
    parser.add_argument("--subjects", type=Path, help="file of the subjects to measure on, one a line")
    parser.add_argument("--parts", nargs="+", choices=SIDES, help="sides of the split to measure on")
    parser.add_argument("--seed", type=int, default=0, help="of the split; as in training")
    parser.add_argument("--validation", type=float, default=0.2, help="share of the split; as in training")
    parser.add_argument("--test", type=float, default=0.0, help="share of the split; as in training")
    parser.add_argument("--resamples", type=int, default=1000, help="draws of people behind the intervals")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, help="default: among the user's own, where the service finds it")
    parser.add_argument("--report", type=Path, metavar="PNG", help="plot of the curve")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
