"""The comparisons that went most wrong: strangers most alike, and photographs of one person least alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.evaluation.comparisons import BLOCK, Counts, Distances

SHOWN = 12
"""How many of each kind."""


@dataclass(frozen=True, slots=True)
class HardCase:
    """Two photographs by their place in the data set's files. wrong: whether the decision is."""

    first: int
    second: int
    mated: bool
    distance: float
    wrong: bool


def hardest(
    first: Counts, second: Counts, mated: NDArray[np.bool_], distances: Distances, threshold: float
) -> list[HardCase]:
    """The nearest non-mated and the farthest mated comparisons (n,) each, worst first, whether wrong or only close.
    Comparisons without a finite distance failed to enrol and are told elsewhere."""
    finite = np.isfinite(distances)
    chosen: list[int] = []
    for kind, sign in ((False, 1), (True, -1)):
        own = np.flatnonzero(finite & (mated == kind))
        chosen += own[np.argsort(sign * distances[own], kind="stable")[:SHOWN]].tolist()
    return [
        HardCase(
            int(first[i]),
            int(second[i]),
            bool(mated[i]),
            float(distances[i]),
            bool((distances[i] < threshold) != mated[i]),
        )
        for i in chosen
    ]


def hardest_of_all_pairs(vectors: Vectors, subjects: NDArray[Any], threshold: float) -> list[HardCase]:
    """The same of all pairs of photographs, (n d) and (n,), without holding more than a block of them."""
    kept = [_extremes(vectors, subjects, start) for start in range(0, len(vectors), BLOCK)]
    first, second, mated, distances = (np.concatenate(column) for column in zip(*kept, strict=True))
    return hardest(first, second, mated, distances, threshold)


def _extremes(
    vectors: Vectors, subjects: NDArray[Any], start: int
) -> tuple[Counts, Counts, NDArray[np.bool_], Distances]:
    """Place of both photographs, kind and distance of a block of rows' hardest pairs."""
    points = vectors.astype(np.float64)
    rows = np.arange(start, min(start + BLOCK, len(points)))
    squares = np.square(points).sum(1)
    distances = squares[rows, None] + squares - 2 * points[rows] @ points.T
    later = (np.arange(len(points)) > rows[:, None]) & np.isfinite(distances)
    same = subjects[rows, None] == subjects
    chosen = [_least(np.where(later & ~same, distances, np.inf)), _least(np.where(later & same, -distances, np.inf))]
    row, column = np.divmod(np.concatenate(chosen), len(points))
    return rows[row], column, same[row, column], np.maximum(distances[row, column], 0)


def _least(values: Distances) -> Counts:
    """Places in the flat array of its finite least ones."""
    flat = values.ravel()
    places = np.argpartition(flat, min(SHOWN, len(flat) - 1))[:SHOWN]
    return places[np.isfinite(flat[places])]


def hardest_searches(
    probes: Sequence[int], found: Sequence[int], own: NDArray[np.bool_], distances: Distances, threshold: float
) -> list[HardCase]:
    """Of searches: each probe with the nearest reference it found, (p,) each; own: whether that is its own subject's.
    A search that ranks someone else first counts as a comparison of strangers."""
    return hardest(np.asarray(probes), np.asarray(found), own, distances, threshold)


def names(cases: Sequence[HardCase], files: Sequence[Path]) -> list[dict[str, Any]]:
    """The cases by file name, as the report writes them."""
    return [
        {
            "first": files[case.first].as_posix(),
            "second": files[case.second].as_posix(),
            "mated": case.mated,
            "distance": case.distance,
            "wrong": case.wrong,
        }
        for case in cases
    ]
