"""1:1 evaluation over a pair list, with failures to enrol counted as the non-matches they cause."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core import metrics
from facesvc.core.compare import distance
from facesvc.core.ports import Extractor
from facesvc.core.types import FaceChoice, Template
from facesvc.errors import FaceServiceError, RequestError
from facesvc.evaluation.pairs import Pair
from facesvc.pipeline.many import extract_files


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """distances: (n,) squared L2, the largest possible one where a photograph failed to enrol;
    mated: (n,); folds: (n,); failures: photograph -> error code."""

    distances: NDArray[np.float64]
    mated: NDArray[np.bool_]
    folds: NDArray[np.int64]
    failures: Mapping[Path, str]
    photographs: int


def score_pairs(
    extractor: Extractor,
    pairs: Sequence[Pair],
    images: Path,
    workers: int,
    choice: FaceChoice = FaceChoice.PROMINENT,
    advance: Callable[[], object] = lambda: None,
) -> PairScores:
    """Runs every photograph once through the pipeline and compares the pairs; ``advance`` is called per photograph."""
    files = sorted({pair.first for pair in pairs} | {pair.second for pair in pairs})
    templates: dict[Path, Template] = {}
    failures: dict[Path, str] = {}
    for file, result in extract_files(extractor, [existing(images / file) for file in files], choice, workers):
        name = file.relative_to(images)
        if isinstance(result, FaceServiceError):
            failures[name] = result.code
        else:
            templates[name] = result.samples[0].template
        advance()
    farthest = 4 * extractor.norm**2
    distances = [
        distance(templates[p.first], templates[p.second]) if {p.first, p.second} <= templates.keys() else farthest
        for p in pairs
    ]
    return PairScores(
        np.array(distances),
        np.array([pair.mated for pair in pairs]),
        np.array([pair.fold for pair in pairs]),
        failures,
        len(files),
    )


def existing(file: Path) -> Path:
    if not file.is_file():
        raise RequestError(f"{file} is in the pair list but not in the image folder")
    return file


def summarise(scores: PairScores, threshold: float) -> dict[str, Any]:
    """Accuracy by folds, AUC, EER, TAR at fixed FMRs, and the rates at the threshold in use."""
    mated, non_mated = scores.distances[scores.mated], scores.distances[~scores.mated]
    accuracy = metrics.fold_accuracy(scores.distances, scores.mated, scores.folds)
    return {
        "pairs": len(scores.distances),
        "folds": len(np.unique(scores.folds)),
        "accuracy": accuracy.mean,
        "accuracy_se": None if np.isnan(accuracy.standard_error) else accuracy.standard_error,
        "best_thresholds": list(accuracy.thresholds),
        "auc": metrics.area_under_roc(mated, non_mated),
        "eer": metrics.equal_error_rate(mated, non_mated),
        "tar": {f"1e-{n}": metrics.tar_at_fmr(mated, non_mated, 10.0**-n) for n in (2, 3)},
        "at_threshold": _at_threshold(mated, non_mated, threshold),
        "photographs": scores.photographs,
        "failures_to_enrol": len(scores.failures),
        "failures": {str(file): code for file, code in scores.failures.items()},
    }


def _at_threshold(mated: NDArray[np.float64], non_mated: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    false_matches, false_non_matches = int((non_mated < threshold).sum()), int((mated >= threshold).sum())
    return {
        "threshold": threshold,
        "fmr": false_matches / len(non_mated),
        "fmr_interval": metrics.wilson(false_matches, len(non_mated)),
        "fnmr": false_non_matches / len(mated),
        "fnmr_interval": metrics.wilson(false_non_matches, len(mated)),
    }
