"""How far two template versions of one gallery agree: who would be decided otherwise after a change of model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facesvc.core.compare import squared_l2
from facesvc.core.metrics import wilson
from facesvc.core.types import Vectors

Flags = NDArray[np.bool_]
ROWS = 16
"""Probes compared at a time: with 1,000 references, 16 MB of differences."""


@dataclass(frozen=True, slots=True)
class Table:
    """Yes or no by the old model and by the new, 2 x 2, as numbers of comparisons or probes."""

    both: int = 0
    old_only: int = 0
    new_only: int = 0
    neither: int = 0

    def __add__(self, other: "Table") -> "Table":
        return Table(
            self.both + other.both,
            self.old_only + other.old_only,
            self.new_only + other.new_only,
            self.neither + other.neither,
        )

    @property
    def total(self) -> int:
        return self.both + self.old_only + self.new_only + self.neither

    @property
    def changed(self) -> float | None:
        """Share that was decided otherwise, 0..1; None of nothing."""
        return (self.old_only + self.new_only) / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of ``changed`` (Wilson 1927), as if all were independent: comparisons that share people are not, so the
        true one is wider."""
        return wilson(self.old_only + self.new_only, self.total)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two references that one model matches and the other does not. mated: of one subject; distances: squared L2."""

    references: tuple[str, str]
    mated: bool
    old_distance: float
    new_distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """References with a template in both versions. ids: public; subjects: (n,) any labels; old, new: (n 128), in the
    same order."""

    ids: Sequence[str]
    subjects: NDArray[np.int64]
    old: Vectors
    new: Vectors


@dataclass(frozen=True, slots=True)
class Agreement:
    """mated, non_mated: decisions of every two references, at the models' own thresholds. rank_1: is the nearest other
    reference one of the same subject, for references whose subject has several. worst: at most so many as were asked
    for, the one furthest from both thresholds first."""

    old_version: str
    new_version: str
    old_threshold: float
    new_threshold: float
    references: int
    mated: Table = field(default_factory=Table)
    non_mated: Table = field(default_factory=Table)
    rank_1: Table = field(default_factory=Table)
    worst: tuple[Disagreement, ...] = ()


@dataclass(slots=True)
class Comparison:
    """Gathers an agreement over all pairs of ``held``, some rows at a time. thresholds: squared L2, old and new."""

    held: Held
    thresholds: tuple[float, float]
    keep: int
    mated: Table = field(default_factory=Table)
    non_mated: Table = field(default_factory=Table)
    rank_1: Table = field(default_factory=Table)
    worst: list[tuple[float, Disagreement]] = field(default_factory=list)

    def run(self) -> "Comparison":
        for start in range(0, len(self.held.ids), ROWS):
            self._rows(np.arange(start, min(start + ROWS, len(self.held.ids))))
        return self

    def _rows(self, rows: NDArray[np.int64]) -> None:
        held = self.held
        distances = [squared_l2(vectors[rows], vectors) for vectors in (held.old, held.new)]
        same = held.subjects[rows][:, None] == held.subjects[None]
        later = np.arange(len(held.ids))[None] > rows[:, None]  # every two once
        old, new = (d < threshold for d, threshold in zip(distances, self.thresholds, strict=True))
        self.mated += table(old[later & same], new[later & same])
        self.non_mated += table(old[later & ~same], new[later & ~same])
        self._rank(rows, distances, same)
        self._note(rows, distances, same, later & (old != new))

    def _rank(self, rows: NDArray[np.int64], distances: list[NDArray[np.float64]], same: Flags) -> None:
        others = np.arange(len(self.held.ids))[None] != rows[:, None]
        has_mate = (same & others).any(axis=1)
        nearest = (np.where(others, d, np.inf).argmin(axis=1) for d in distances)
        old, new = (np.take_along_axis(same, n[:, None], axis=1)[:, 0] for n in nearest)
        self.rank_1 += table(old[has_mate], new[has_mate])

    def _note(self, rows: NDArray[np.int64], distances: list[NDArray[np.float64]], same: Flags, changed: Flags) -> None:
        old, new = distances
        margins = np.abs(old / self.thresholds[0] - new / self.thresholds[1])
        places = np.argwhere(changed)
        furthest = np.argsort(-margins[changed], kind="stable")[: self.keep]
        for place in places[furthest]:
            i, j = int(place[0]), int(place[1])
            pair = (self.held.ids[int(rows[i])], self.held.ids[j])
            found = Disagreement(pair, bool(same[i, j]), float(old[i, j]), float(new[i, j]))
            self.worst.append((float(margins[i, j]), found))
        self.worst = sorted(self.worst, key=lambda entry: -entry[0])[: self.keep]


def table(old: Flags, new: Flags) -> Table:
    """(n,) each."""
    return Table(int((old & new).sum()), int((old & ~new).sum()), int((~old & new).sum()), int((~old & ~new).sum()))


def sampled(keys: NDArray[np.int64], subjects: NDArray[np.int64], size: int, seed: int) -> list[int]:
    """Keys of whole subjects, drawn at random until there are ``size`` references or more; keys, subjects: (n,)."""
    order = np.random.default_rng(seed).permutation(np.unique(subjects))
    rank = np.argsort(order)[np.searchsorted(np.sort(order), subjects)]  # when each reference's subject was drawn
    drawn = np.argsort(rank, kind="stable")
    last = rank[drawn[min(size, len(drawn)) - 1]] if len(drawn) else -1
    return np.sort(keys[rank <= last]).tolist()
