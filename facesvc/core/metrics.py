"""Error rates of comparison, after ISO/IEC 19795-1. Distances: lower is more alike; match is ``distance < threshold``.

mated: (m,) squared L2 distances of comparisons of one person; non_mated: (n,) of different people.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]


def fmr(non_mated: Distances, threshold: float) -> float:
    """False match rate: share of non-mated comparisons below the threshold."""
    return float((non_mated < threshold).mean())


def fnmr(mated: Distances, threshold: float) -> float:
    """False non-match rate: share of mated comparisons at or above the threshold."""
    return float((mated >= threshold).mean())


def threshold_at_fmr(non_mated: Distances, target: float) -> float:
    """Largest threshold at which at most ``target`` of the non-mated comparisons match."""
    ordered = np.sort(non_mated)
    allowed = int(np.floor(target * len(ordered) + 1e-9))  # 1e-9: 0.001 * 3000 must be 3, not 2
    return float(ordered[allowed]) if allowed < len(ordered) else float("inf")


def tar_at_fmr(mated: Distances, non_mated: Distances, target: float) -> float:
    """True accept rate (1 - FNMR) at the largest threshold whose FMR is at most ``target``."""
    return 1.0 - fnmr(mated, threshold_at_fmr(non_mated, target))


def error_curve(mated: Distances, non_mated: Distances, thresholds: Distances) -> tuple[Distances, Distances]:
    """FMR and FNMR at each threshold: ((k,), (k,))."""
    below = np.searchsorted(np.sort(non_mated), thresholds, side="left") / len(non_mated)
    above = 1.0 - np.searchsorted(np.sort(mated), thresholds, side="left") / len(mated)
    return below, above


def equal_error_rate(mated: Distances, non_mated: Distances) -> float:
    """Mean of FMR and FNMR at the observed threshold where they are closest; at the lower one of two."""
    false_match, false_non_match = error_curve(mated, non_mated, np.unique(np.concatenate([mated, non_mated])))
    nearest = int(np.argmin(np.abs(false_match - false_non_match).round(12)))  # else noise would break ties
    return float(false_match[nearest] + false_non_match[nearest]) / 2


def area_under_roc(mated: Distances, non_mated: Distances) -> float:
    """Chance that a mated distance is below a non-mated one, ties counting half (Mann-Whitney U)."""
    ordered = np.sort(non_mated)
    above = len(ordered) - np.searchsorted(ordered, mated, side="right")
    tied = np.searchsorted(ordered, mated, side="right") - np.searchsorted(ordered, mated, side="left")
    return float((above + tied / 2).mean() / len(ordered))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """mean over folds and its standard error, as LFW reports them; thresholds: one per fold."""

    mean: float
    standard_error: float
    thresholds: tuple[float, ...]


def fold_accuracy(distances: Distances, mated: NDArray[np.bool_], folds: NDArray[np.int64]) -> Accuracy:
    """Cross-validated accuracy, (n,) each: every fold is judged at the threshold that is best on all others.

    LFW View 2 (Huang et al. 2007, section 3): the mean over the folds and its standard error.
    """
    scores, thresholds = [], []
    for fold in np.unique(folds):
        held_out = folds == fold
        threshold = best_threshold(distances[~held_out], mated[~held_out])
        scores.append(float(((distances[held_out] < threshold) == mated[held_out]).mean()))
        thresholds.append(threshold)
    error = float(np.std(scores, ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else float("nan")
    return Accuracy(float(np.mean(scores)), error, tuple(thresholds))


@dataclass(frozen=True, slots=True)
class ValidationRate:
    """mean over folds and its standard error; false_accept_rate: the mean one that the folds' thresholds had."""

    mean: float
    standard_error: float
    false_accept_rate: float


def fold_validation_rate(
    distances: Distances, mated: NDArray[np.bool_], folds: NDArray[np.int64], target: float
) -> ValidationRate:
    """VAL at a false accept rate (FaceNet, Schroff et al. 2015, section 4), (n,) each, at least two folds: each fold's
    share of accepted mated pairs, at the threshold that has the FAR ``target`` on all other folds."""
    accepted, falsely = [], []
    for fold in np.unique(folds):
        held_out = folds == fold
        threshold = threshold_at_fmr(distances[~held_out & ~mated], target)
        accepted.append(1.0 - fnmr(distances[held_out & mated], threshold))
        falsely.append(fmr(distances[held_out & ~mated], threshold))
    error = float(np.std(accepted, ddof=1) / np.sqrt(len(accepted)))
    return ValidationRate(float(np.mean(accepted)), error, float(np.mean(falsely)))


def best_threshold(distances: Distances, mated: NDArray[np.bool_]) -> float:
    """Threshold of the highest accuracy: the middle of the gap below the observed distance where it is reached."""
    cuts = np.append(np.unique(distances), np.inf)
    accepted_mated = np.searchsorted(np.sort(distances[mated]), cuts, side="left")
    refused_non_mated = (~mated).sum() - np.searchsorted(np.sort(distances[~mated]), cuts, side="left")
    best = int(np.argmax(accepted_mated + refused_non_mated))
    if best == 0:
        return float(cuts[0])
    high = cuts[best] if np.isfinite(cuts[best]) else cuts[best - 1] + 1.0
    return max(float((cuts[best - 1] + high) / 2), float(np.nextafter(cuts[best - 1], np.inf)))


def wilson(errors: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927); z = 1.96 is 95 %. Comparisons that share people are not
    independent, so where they do the true interval is wider."""
    if trials == 0:
        return 0.0, 1.0
    share, spread = errors / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
