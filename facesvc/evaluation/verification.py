"""1:1 evaluation over a pair list or over all pairs of a folder, failures to enrol counted as the non-matches they
cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core import metrics
from facesvc.core.compare import squared_l2
from facesvc.errors import RequestError
from facesvc.evaluation.comparisons import AllPairs
from facesvc.evaluation.datasets import Pair, Templates
from facesvc.evaluation.intervals import (
    RESAMPLES,
    EqualErrorRate,
    Fmr,
    Fnmr,
    Interval,
    Statistic,
    TarAtFmr,
    bootstrap,
    pair_bootstrap,
)

TARGETS = {"1e-2": 1e-2, "1e-3": 1e-3}
"""False match rates at which true accept rates are told."""


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """distances: (n,) squared L2, the largest possible one where a photograph failed to enrol;
    mated: (n,); folds: (n,); failures: photograph -> error code."""

    distances: NDArray[np.float64]
    mated: NDArray[np.bool_]
    folds: NDArray[np.int64]
    failures: Mapping[Path, str]
    photographs: int


def listed_files(pairs: Sequence[Pair], images: Path) -> list[Path]:
    """The photographs that a pair list names, sorted. Raises RequestError for one that isn't there."""
    files = sorted({pair.first for pair in pairs} | {pair.second for pair in pairs})
    for file in files:
        if not (images / file).is_file():
            raise RequestError(f"{images / file} is in the pair list but not in the image folder")
    return files


def score_pairs(templates: Templates, pairs: Sequence[Pair], norm: float = 1.0) -> PairScores:
    """Compares the pairs. norm: length of the pack's vectors, so 4 norm^2 is the largest possible distance."""
    place = {file: i for i, file in enumerate(templates.files)}
    first, second = (templates.vectors[[place[file] for file in side]] for side in _sides(pairs))
    distances = np.array([squared_l2(a[None], b[None])[0, 0] for a, b in zip(first, second, strict=True)])
    return PairScores(
        np.nan_to_num(distances, nan=4 * norm**2),
        np.array([pair.mated for pair in pairs]),
        np.array([pair.fold for pair in pairs]),
        templates.failures,
        len(templates.files),
    )


def _sides(pairs: Sequence[Pair]) -> tuple[list[Path], list[Path]]:
    return [pair.first for pair in pairs], [pair.second for pair in pairs]


def summarise(scores: PairScores, threshold: float, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Accuracy and VAL by folds, AUC, EER, TAR at fixed FMRs, and the rates at the threshold in use. Intervals are
    bootstraps over the pairs; Wilson's at the threshold, since pairs of a list are independent."""
    mated, non_mated = scores.distances[scores.mated], scores.distances[~scores.mated]
    accuracy = metrics.fold_accuracy(scores.distances, scores.mated, scores.folds)
    wanted = _statistics()
    rates = pair_bootstrap(scores.distances, scores.mated, wanted, scores.folds, resamples=resamples, seed=seed)
    return {
        "pairs": len(scores.distances),
        "folds": len(accuracy.thresholds),
        "accuracy": accuracy.mean,
        "accuracy_se": _known(accuracy.standard_error),
        "best_thresholds": list(accuracy.thresholds),
        "auc": metrics.area_under_roc(mated, non_mated),
        **_rates(rates),
        "val": _validation_rates(scores),
        "at_threshold": _at_threshold(mated, non_mated, threshold),
        **enrolment(scores.failures, scores.photographs),
    }


def summarise_all_pairs(
    comparisons: AllPairs, threshold: float, failures: Mapping[Path, str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """The same over all pairs of a folder's photographs; intervals over people."""
    wanted = {**_statistics(), "fmr": Fmr(threshold), "fnmr": Fnmr(threshold)}
    rates = bootstrap(comparisons, wanted, resamples=resamples, seed=seed)
    return {
        "pairs": len(comparisons.mated) + len(comparisons.non_mated),
        "mated": len(comparisons.mated),
        "non_mated": len(comparisons.non_mated),
        "subjects": len(comparisons.subjects),
        "auc": metrics.area_under_roc(comparisons.mated, comparisons.non_mated),
        **_rates(rates),
        "at_threshold": at_threshold(threshold, rates),
        **enrolment(failures, comparisons.photographs),
    }


def enrolment(failures: Mapping[Path, str], photographs: int) -> dict[str, Any]:
    """Failures to enrol, counted and named."""
    return {
        "photographs": photographs,
        "failures_to_enrol": len(failures),
        "failures": {file.as_posix(): code for file, code in failures.items()},
    }


def at_threshold(threshold: float, rates: Mapping[str, Interval]) -> dict[str, Any]:
    """FMR and FNMR at the threshold with their intervals, as the report writes them."""
    described = {}
    for name in ("fmr", "fnmr"):
        described |= {name: _known(rates[name].value), f"{name}_interval": rates[name][1:]}
    return {"threshold": threshold, **described}


def _statistics() -> dict[str, Statistic]:
    return {"eer": EqualErrorRate(), **{name: TarAtFmr(target) for name, target in TARGETS.items()}}


def _rates(rates: Mapping[str, Interval]) -> dict[str, Any]:
    return {
        "eer": _known(rates["eer"].value),
        "eer_interval": rates["eer"][1:],
        "tar": {name: _known(rates[name].value) for name in TARGETS},
        "tar_interval": {name: rates[name][1:] for name in TARGETS},
    }


def _validation_rates(scores: PairScores) -> dict[str, Any] | None:
    """VAL at each false accept rate, with standard error; None for a single fold, which leaves no others."""
    if len(np.unique(scores.folds)) < 2:
        return None
    described = {}
    for name, target in TARGETS.items():
        val = metrics.fold_validation_rate(scores.distances, scores.mated, scores.folds, target)
        described[name] = {"mean": val.mean, "se": val.standard_error, "far": val.false_accept_rate}
    return described


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value


def _at_threshold(mated: NDArray[np.float64], non_mated: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    false_matches, false_non_matches = int((non_mated < threshold).sum()), int((mated >= threshold).sum())
    fmr = Interval(metrics.fmr(non_mated, threshold), *metrics.wilson(false_matches, len(non_mated)))
    fnmr = Interval(metrics.fnmr(mated, threshold), *metrics.wilson(false_non_matches, len(mated)))
    return at_threshold(threshold, {"fmr": fmr, "fnmr": fnmr})
