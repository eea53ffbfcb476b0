"""Sets of comparisons that can be drawn again: what is resampled is people (or pairs), never lone comparisons.

Distances: squared L2, lower is more alike; match is ``distance < threshold``, as in ``facesvc.core.metrics``.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import RequestError

Distances = NDArray[np.float64]
Counts = NDArray[np.int64]
BLOCK = 512
"""Rows of the comparison matrix at once."""
FIRST_SHARE = 1 / 64
"""Share of the non-mated comparisons, nearest first, that a draw weighs before it has to look further."""


@dataclass(slots=True, eq=False)
class Draw:
    """Comparisons with whole-number weights: how often each occurs in one resample. Its rates are exactly those of
    ``facesvc.core.metrics`` on the comparisons repeated that often; NaN where a resample has none of a kind.

    mated (m,), non_mated (n,): ascending; mated_weights (m,); non_mated_weights(k): of the k nearest;
    non_mated_below(k): their sum, had without their list; non_mated_total: the sum of all n.
    """

    mated: Distances
    mated_weights: Counts
    non_mated: Distances
    non_mated_weights: Callable[[int], Counts]
    non_mated_below: Callable[[int], int]
    non_mated_total: int
    _sums: Counts = field(default_factory=lambda: np.zeros(1, np.int64), init=False)

    def fmr(self, threshold: float) -> float:
        """False match rate at the threshold."""
        return _share(self._below(int(np.searchsorted(self.non_mated, threshold))), self.non_mated_total)

    def fnmr(self, threshold: float) -> float:
        """False non-match rate at the threshold."""
        below = int(np.searchsorted(self.mated, threshold))
        return _share(int(self.mated_weights[below:].sum()), int(self.mated_weights.sum()))

    def threshold_at_fmr(self, target: float) -> float:
        """Largest threshold at which at most ``target`` of the non-mated comparisons match."""
        allowed = int(np.floor(target * self.non_mated_total + 1e-9))  # as in metrics.threshold_at_fmr
        while self._sums[-1] <= allowed and self._look_further():
            pass
        first = int(np.searchsorted(self._sums, allowed, side="right")) - 1
        return float(self.non_mated[first]) if first < len(self.non_mated) else float("inf")

    def tar_at_fmr(self, target: float) -> float:
        """True accept rate (1 - FNMR) at the largest threshold whose FMR is at most ``target``."""
        return 1.0 - self.fnmr(self.threshold_at_fmr(target)) if self.non_mated_total else float("nan")

    def equal_error_rate(self) -> float:
        """Mean of FMR and FNMR at the observed threshold where they are closest."""
        if not (self.non_mated_total and self.mated_weights.any()):
            return float("nan")
        while not (len(self._sums) > 1 and self._crossed(self._farthest)) and self._look_further():
            pass
        rates = [(self.fmr(t), self.fnmr(t)) for t in self._around_crossing()]
        return sum(min(rates, key=lambda pair: round(abs(pair[0] - pair[1]), 12))) / 2

    def _below(self, k: int) -> int:
        return int(self._sums[k]) if k < len(self._sums) else self.non_mated_below(k)

    def _look_further(self) -> bool:
        """Sums the weights of twice as many of the nearest comparisons; False when there are no more."""
        known, there = len(self._sums) - 1, len(self.non_mated)
        wanted = min(there, max(2 * known, int(there * FIRST_SHARE), 1024))
        if known < there:
            self._sums = np.concatenate([[0], np.cumsum(self.non_mated_weights(wanted))])
        return known < there

    @property
    def _farthest(self) -> float:
        """Up to where the running sums reach."""
        return float(self.non_mated[len(self._sums) - 2])

    def _crossed(self, threshold: float) -> bool:
        return self.fmr(threshold) > self.fnmr(threshold)

    def _around_crossing(self) -> list[float]:
        """The last observed threshold before FMR exceeds FNMR, and the first after; either may be missing."""
        known = self.non_mated[: len(self._sums) - 1]
        lists = (self.mated[self.mated <= self._farthest] if len(known) < len(self.non_mated) else self.mated, known)
        firsts = [bisect_left(values, True, key=self._crossed) for values in lists]
        before = [float(values[i - 1]) for i, values in zip(firsts, lists, strict=True) if i > 0]
        after = [float(values[i]) for i, values in zip(firsts, lists, strict=True) if i < len(values)]
        return [*sorted(before)[-1:], *sorted(after)[:1]]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


class Comparisons(Protocol):
    """What a bootstrap draws from. strata (u,): the stratum of each unit that is drawn (a person, or a pair);
    as many are drawn of each stratum as it has."""

    mated: Distances
    non_mated: Distances
    strata: Counts

    @property
    def mated_units(self) -> int:
        """How many independent units the mated comparisons come from."""
        ...

    @property
    def non_mated_units(self) -> int:
        """The same of the non-mated ones; for all pairs of people, how many pairs of people."""
        ...

    def draw(self, counts: Counts) -> Draw:
        """The comparisons when unit i was drawn counts[i] times, (u,)."""
        ...


class AllPairs:
    """Every photograph compared with every other one.

    vectors (n d); subjects (n,): who is on each, any labels. A row of NaN stands for a photograph that failed to
    enrol: it matches nothing, at distance infinity. Distances are by the inner product in float64, exact to about
    1e-12. Memory: 24 bytes a comparison, at the peak twice that. Raises RequestError for fewer than two subjects.
    """

    def __init__(self, vectors: Vectors, subjects: NDArray[Any]) -> None:
        names, owners = np.unique(np.asarray(subjects), return_inverse=True)
        if len(names) < 2:
            raise RequestError(f"{len(names)} subject(s): comparing different people takes two")
        mated, non_mated = _all_pairs(np.asarray(vectors, np.float64), owners.astype(np.int32))
        self.subjects = names
        self.strata: Counts = np.zeros(len(names), np.int64)
        self.mated, self._mated_owner, _ = mated
        self.non_mated, self._first, self._second = non_mated
        self.photographs = len(owners)
        self._photographs = np.bincount(owners)
        self._pairs_below = lru_cache(maxsize=8)(self._count_pairs)

    @property
    def mated_units(self) -> int:
        return int((self._photographs > 1).sum())

    @property
    def non_mated_units(self) -> int:
        return len(self.subjects) * (len(self.subjects) - 1) // 2

    def draw(self, counts: Counts) -> Draw:
        """A comparison of persons s and t occurs counts[s] * counts[t] times, a mated one counts[s] times: two
        copies of one person are never compared with each other, neither as mated nor as strangers."""

        def weights(k: int) -> Counts:
            return counts[self._first[:k]] * counts[self._second[:k]]

        def below(k: int) -> int:
            first, second, occurrences = self._pairs_below(k)
            return int((counts[first] * counts[second]) @ occurrences)

        weighted = counts * self._photographs
        total = int((weighted.sum() ** 2 - np.square(weighted).sum()) // 2)
        return Draw(self.mated, counts[self._mated_owner], self.non_mated, weights, below, total)

    def mated_rows(self) -> Iterator[tuple[str, str, float]]:
        """Subject, subject again and distance of each mated comparison, nearest first."""
        names = self.subjects[self._mated_owner].tolist()
        return zip(names, names, self.mated.tolist(), strict=True)

    def non_mated_rows(self) -> Iterator[tuple[str, str, float]]:
        """Both subjects and the distance of each non-mated comparison, nearest first."""
        for first, second, distance in zip(self._first, self._second, self.non_mated, strict=True):
            yield str(self.subjects[first]), str(self.subjects[second]), float(distance)

    def _count_pairs(self, k: int) -> tuple[Counts, Counts, Counts]:
        """The pairs of persons among the k nearest non-mated comparisons, and how many each has there."""
        people = len(self.subjects)
        codes = self._first[:k].astype(np.int64) * people + self._second[:k]
        found, occurrences = np.unique(codes, return_counts=True)
        return found // people, found % people, occurrences


def _all_pairs(vectors: Distances, owners: NDArray[np.int32]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Distance, one owner and the other of all mated and all non-mated pairs, nearest first."""
    squares = np.square(vectors).sum(axis=1)
    mated: list[tuple[NDArray[Any], ...]] = []
    non_mated: list[tuple[NDArray[Any], ...]] = []
    for start in range(0, len(vectors), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(vectors)))
        distances = squares[rows, None] + squares[None] - 2 * vectors[rows] @ vectors.T
        distances = np.where(np.isnan(distances), np.inf, np.maximum(distances, 0))
        later = np.arange(len(vectors))[None] > rows[:, None]  # each pair once, none with itself
        same = owners[rows, None] == owners[None]
        for kind, chosen in ((mated, later & same), (non_mated, later & ~same)):
            row, column = np.nonzero(chosen)
            kind.append((distances[chosen], owners[rows[row]], owners[column]))
    return _nearest_first(mated), _nearest_first(non_mated)


def _nearest_first(blocks: list[tuple[NDArray[Any], ...]]) -> list[NDArray[Any]]:
    columns = [np.concatenate(column) for column in zip(*blocks, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


class Owned:
    """Comparisons that each belong to one unit: a pair of a list (which is its own unit), or all searches for one
    person's photographs in a gallery.

    mated (m,), non_mated (n,): distances in any order; *_units: the unit, 0..u-1, of each; strata (u,).
    """

    def __init__(
        self, mated: Distances, mated_units: Counts, non_mated: Distances, non_mated_units: Counts, strata: Counts
    ) -> None:
        self.strata = strata
        self.mated, self._mated_owner = _nearest_first([(np.asarray(mated), np.asarray(mated_units))])
        self.non_mated, self._non_mated_owner = _nearest_first([(np.asarray(non_mated), np.asarray(non_mated_units))])

    @property
    def mated_units(self) -> int:
        return len(np.unique(self._mated_owner))

    @property
    def non_mated_units(self) -> int:
        return len(np.unique(self._non_mated_owner))

    def draw(self, counts: Counts) -> Draw:
        """A comparison occurs as often as its unit was drawn."""
        weights = counts[self._non_mated_owner]
        return Draw(
            self.mated,
            counts[self._mated_owner],
            self.non_mated,
            lambda k: weights[:k],
            lambda k: int(weights[:k].sum()),
            int(weights.sum()),
        )


def pair_list(distances: Distances, mated: NDArray[np.bool_], folds: Counts | None = None) -> Owned:
    """A list of independent pairs, (n,) each: every pair is a unit, drawn within its fold and kind, so that every
    resample has the list's own make-up. Infinite distances stand for pairs with a failure to enrol."""
    units = np.arange(len(distances))
    folds = np.zeros(len(distances), np.int64) if folds is None else np.unique(folds, return_inverse=True)[1]
    return Owned(distances[mated], units[mated], distances[~mated], units[~mated], folds * 2 + mated)
