"""The map of distances that puts a wanted false match rate at a wanted threshold.

The calibration of a set of templates: error rates over all distances, with intervals over people.

The intervals are those of ``facesvc.evaluation.intervals``, which has the sources: people are drawn again, and a
comparison counts as often as its people were drawn together. Here they are taken at every point of the curve at once.
Neither rates nor intervals need smoothing: every resampled curve is an empirical distribution function, so monotone,
and so are the quantiles of such curves, point by point.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesvc.core.decide import DEFAULT_THRESHOLD, Calibration
from facesvc.core.types import Vectors
from facesvc.errors import RequestError, TargetFmrUnsupported
from facesvc.evaluation.intervals import resampled_counts
from facesvc.models import calibration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FINE, COARSE = 0.01, 0.1
"""Steps of the curve where thresholds are set, and beyond."""
COARSE_FROM = 0.1
"""FMR from which the steps are coarse: nobody sets a threshold there."""
TAILS = (0.025, 0.975)
"""Quantiles of the resampled rates: a 95 % percentile interval (Efron 1979)."""
DIGITS = 9
"""Decimals kept of a rate."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Comparisons below each of k distances, once for each of r ways to weigh the people.

    mated, non_mated: (r k + 1), the last column those at any distance; pairs: of people that were compared.
    """

    mated: Floats
    non_mated: Floats
    pairs: int

    @property
    def fmr(self) -> Floats:
        """(r k); rows in which nobody met a stranger are left out."""
        return _shares(self.non_mated)

    @property
    def fnmr(self) -> Floats:
        """(r k); rows in which nobody met themselves are left out."""
        return 1.0 - _shares(self.mated)


def measure(
    vectors: Vectors,
    subjects: Sequence[str],
    *,
    template_version: str,
    norm: float,
    data: str,
    folds: Sequence[int] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibration:
    """The calibration of templates (n 128) of length ``norm``, from all comparisons among them.

    subjects: (n,) whom each shows; folds: (n,) where the templates come from cross-fitting, each made by an embedder
    that never saw its subject: only templates of one fold are compared, since only they have one embedder.
    resamples, seed: of the intervals; data: what the templates are of.
    Raises RequestError where (within a fold) nobody has two photographs, or there are no two people.
    """
    names, people = np.unique(np.asarray(subjects), return_inverse=True)
    fold = np.zeros(len(people), np.int64) if folds is None else np.asarray(folds, np.int64)
    distances = grid(vectors, people, fold, norm)
    drawn = resampled_counts(np.zeros(len(names), np.int64), resamples, seed)
    counted = tally(vectors, people, fold, distances, np.vstack([np.ones(len(names)), drawn.astype(np.float64)]))
    disjoint = int((np.bincount(people) // 2).sum())  # pairs of one person's photographs, none of them in two pairs
    return calibration.create(
        template_version=template_version,
        distances=distances,
        curves={**_banded("fmr", counted.fmr, counted.pairs), **_banded("fnmr", counted.fnmr, disjoint)},
        non_mated=int(counted.non_mated[0, -1]),
        mated=int(counted.mated[0, -1]),
        independent=counted.pairs,
        data=f"{data}: {len(names)} people, {len(people)} photographs",
    )


def grid(vectors: Vectors, people: Ints, folds: Ints, norm: float) -> Floats:
    """Distances of the curve, 0 to 4 norm^2: steps of FINE as far as the FMR is below COARSE_FROM, then of COARSE.

    Raises RequestError as ``measure`` does.
    """
    top = round(4 * norm**2, 6)
    coarse = np.append(np.arange(0, top - 1e-9, COARSE), top).round(6)
    counted = tally(vectors, people, folds, coarse, np.ones((1, int(people.max()) + 1)))
    if not (counted.mated[0, -1] and counted.non_mated[0, -1]):
        raise RequestError("a calibration needs two people, and somebody with two photographs")
    last = coarse[min(int(np.searchsorted(counted.fmr[0], COARSE_FROM)), len(coarse) - 1)]
    return np.union1d(np.arange(0, last, FINE).round(6), coarse)


def tally(vectors: Vectors, people: Ints, folds: Ints, distances: Floats, weights: Floats) -> Tally:
    """Counts every comparison within a fold.

    vectors (n 128); people (n,) numbers 0..p-1, none left out; folds (n,); distances (k,) ascending;
    weights (r p): a comparison of people i and j counts weights[i] x weights[j] times, one of i alone weights[i] times.
    """
    mated, non_mated = np.zeros((2, len(weights), len(distances) + 1))
    pairs = 0
    for person, table in enumerate(_tables(vectors, people, folds, distances)):
        mated += weights[:, [person]] * table[person]
        others = slice(person + 1, None)
        non_mated += weights[:, [person]] * (weights[:, others] @ table[others])
        pairs += int(np.count_nonzero(table[others, -1]))
    return Tally(mated, non_mated, pairs)


def _tables(vectors: Vectors, people: Ints, folds: Ints, distances: Floats) -> Iterator[Floats]:
    """For each person (p k + 1): comparisons with everyone of at least their number below each distance, and all.

    By the inner product, so distances are exact to about 1e-6.
    """
    order = np.argsort(people, kind="stable")
    rows, who, fold = vectors[order].astype(np.float64), people[order], folds[order]
    squares = np.square(rows).sum(axis=1)
    starts = np.flatnonzero(np.diff(who, prepend=-1))
    size = len(distances) + 1
    for start, end in zip(starts, [*starts[1:], len(who)], strict=True):
        apart = np.maximum(squares[start:end, None] + squares[start:] - 2 * rows[start:end] @ rows[start:].T, 0)
        once = np.triu(fold[start:end, None] == fold[start:], 1)  # each pair once, none with itself
        first_above = np.searchsorted(distances, apart[once], side="right")
        cells = np.broadcast_to(who[start:] * size, apart.shape)[once] + first_above
        yield np.bincount(cells, minlength=len(starts) * size).reshape(-1, size).cumsum(axis=1).astype(np.float64)


def _shares(counts: Floats) -> Floats:
    some = counts[counts[:, -1] > 0]
    return some[:, :-1] / some[:, -1:]


def _banded(name: str, rates: Floats, independent: int) -> dict[str, Floats]:
    """The curve (first row) and its interval from the resampled ones.

    The high end is never below 3 / independent, the "rule of three" (ISO/IEC 19795-1, B.1): where no error was seen,
    none is resampled either, which must not read as if there were none.
    """
    low, high = np.quantile(rates[1:], TAILS, axis=0)
    ends = {
        name: rates[0],
        f"{name}_low": np.minimum(low, rates[0]),
        f"{name}_high": np.maximum(np.maximum(high, rates[0]), min(1.0, 3 / independent)),
    }
    return {key: curve.round(DIGITS) for key, curve in ends.items()}


def fit_scale(
    distances: NDArray[np.float64],
    fmr: NDArray[np.float64],
    target_fmr: float = 1e-3,
    at: float = DEFAULT_THRESHOLD,
) -> float:
    """The factor on squared distances that moves the threshold of ``target_fmr`` to ``at``.

    distances (k,) squared L2 ascending; fmr (k,) not falling, linear between its points: a measured curve, or
    ``Calibration.fmr_high`` where the luck of the sample must not let the rate exceed the target.
    One factor for all distances keeps their order, and with it every trade-off of FMR and FNMR; it only moves where
    the threshold falls. On vectors it is a factor of sqrt(scale) on their length. Up to 1 their length can be kept
    instead: a constant component of sqrt(1 - scale) beside the unit vector times sqrt(scale).
    Raises TargetFmrUnsupported where the curve doesn't cross the target above distance 0.
    """
    last = int(np.searchsorted(fmr, target_fmr, side="right")) - 1
    if last < 0 or last + 1 >= len(fmr):
        raise TargetFmrUnsupported(f"the FMR goes from {fmr[0]:g} to {fmr[-1]:g} and never crosses {target_fmr:g}")
    threshold = float(np.interp(target_fmr, fmr[last : last + 2], distances[last : last + 2]))
    if threshold <= 0:
        raise TargetFmrUnsupported(f"no distance above 0 has an FMR of {target_fmr:g} or less")
    return at / threshold
