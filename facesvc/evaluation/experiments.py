"""The experiments that can be run over a data set's templates: a pair list, all pairs of a folder, a gallery.

Error rates by group of people: do the threshold's promises hold for everyone?

Non-mated comparisons are of two people of one group, which are the hard ones: whoever borrows an identity borrows
that of someone alike (ISO/IEC 19795-10 asks for rates within groups; NIST IR 8280 shows why).

The comparisons that went most wrong: strangers most alike, and photographs of one person least alike.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import RequestError
from facesvc.evaluation import identification, verification
from facesvc.evaluation.comparisons import BLOCK, AllPairs, Counts, Distances, pair_list
from facesvc.evaluation.datasets import Pair, Roles, Templates
from facesvc.evaluation.intervals import RESAMPLES, Fmr, Fnmr, Interval, bootstrap

SMALL = 30
"""A group of fewer people is flagged: with so few, one look-alike or one bad photograph decides. A rule of thumb."""
MOST_VALUES = 20
"""A column with more different values (a name, an age in years) makes no groups unless it is asked for."""
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Grouping:
    """A way to group: its name, and the group of each subject."""

    name: str
    groups: Mapping[str, str]


def read_groups(file: Path, subject: str = "subject", columns: Mapping[str, str] | None = None) -> list[Grouping]:
    """Groupings from a CSV file with a head line: column ``subject`` and one column per grouping.

    columns: name of the grouping -> its column; without it, every other column with few enough values.
    Raises RequestError for a file or a column that isn't there.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{file} can't be read as CSV: {error}") from error
    there = [name for name in (rows[0] if rows else {}) if name is not None]
    wanted = columns if columns is not None else _groupable(rows, there, subject)
    for column in (subject, *wanted.values()):
        if column not in there:
            raise RequestError(f"{file} has no column {column!r}; it has {', '.join(there) or 'no rows'}")
    return [
        Grouping(name, {row[subject]: row[column] or NOT_STATED for row in rows}) for name, column in wanted.items()
    ]


def _groupable(rows: Sequence[Mapping[str, str]], columns: Sequence[str], subject: str) -> dict[str, str]:
    few = (name for name in columns if name != subject and len({row[name] for row in rows}) <= MOST_VALUES)
    return {name: name for name in few}


def group_rates(
    vectors: Vectors,
    subjects: NDArray[Any],
    grouping: Grouping,
    threshold: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """FMR and FNMR at the threshold within each group, over all pairs of its photographs, intervals over people.

    vectors (n d), subjects (n,). largest_ratio: of the highest to the lowest rate among groups that are not small;
    None where the lowest is 0 or fewer than two groups are left.
    """
    group = np.array([grouping.groups.get(str(subject), NOT_STATED) for subject in subjects])
    rows = [
        _one_group(str(name), vectors[group == name], subjects[group == name], threshold, resamples, seed)
        for name in np.unique(group)
    ]
    ratios = {rate: _ratio([row[rate] for row in rows if not row["small"]]) for rate in ("fmr", "fnmr")}
    return {"name": grouping.name, "threshold": threshold, "groups": rows, "largest_ratio": ratios}


def _one_group(
    name: str, vectors: Vectors, subjects: NDArray[Any], threshold: float, resamples: int, seed: int
) -> dict[str, Any]:
    people = len(np.unique(subjects))
    described: dict[str, Any] = {
        "group": name,
        "subjects": people,
        "photographs": len(subjects),
        "small": people < SMALL,
    }
    rates = dict.fromkeys(("fmr", "fnmr"), Interval(float("nan"), 0.0, 1.0))
    mated = non_mated = 0
    if people > 1:
        comparisons = AllPairs(vectors, subjects)
        mated, non_mated = len(comparisons.mated), len(comparisons.non_mated)
        wanted = {"fmr": Fmr(threshold), "fnmr": Fnmr(threshold)}
        rates = bootstrap(comparisons, wanted, resamples=resamples, seed=seed)
    for rate, (value, low, high) in rates.items():
        described |= {rate: None if np.isnan(value) else value, f"{rate}_interval": (low, high)}
    return {**described, "mated": mated, "non_mated": non_mated}


def _ratio(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return max(known) / min(known) if len(known) > 1 and min(known) > 0 else None


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


ROWS = 100_000
"""How many non-mated comparisons of all pairs, nearest first, scores.csv lists; there may be millions."""


@dataclass(frozen=True, slots=True)
class Question:
    """How an experiment is judged: threshold in squared L2; resamples and seed of the bootstrap; norm of vectors."""

    threshold: float
    norm: float = 1.0
    resamples: int = RESAMPLES
    seed: int = 0
    groupings: Sequence[Grouping] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """kind: "pairs", "folder" or "gallery"; figures: JSON; mated, non_mated: distances for the plots; labels: what
    their error rates are called; hard: the worst cases; columns, rows: of scores.csv; groups: JSON."""

    kind: str
    figures: dict[str, Any]
    mated: Distances
    non_mated: Distances
    labels: tuple[str, str]
    hard: Sequence[HardCase]
    columns: Sequence[str]
    rows: Iterable[Sequence[object]]
    groups: Sequence[dict[str, Any]] = field(default_factory=list)


def over_pairs(templates: Templates, pairs: Sequence[Pair], ask: Question) -> Experiment:
    """LFW's protocol. Groups are over all pairs of the list's photographs, whose folders name the subjects."""
    scores = verification.score_pairs(templates, pairs, ask.norm)
    place = {file: i for i, file in enumerate(templates.files)}
    first, second = (np.array([place[file] for file in side]) for side in zip(*_files(pairs), strict=True))
    failed = np.isnan(templates.vectors[:, 0])
    finite = np.where(failed[first] | failed[second], np.inf, scores.distances)
    comparisons = pair_list(scores.distances, scores.mated, scores.folds)
    return Experiment(
        "pairs",
        verification.summarise(scores, ask.threshold, ask.resamples, ask.seed),
        comparisons.mated,
        comparisons.non_mated,
        ("FMR", "FNMR"),
        hardest(first, second, scores.mated, finite, ask.threshold),
        ("first", "second", "mated", "fold", "distance"),
        [(p.first, p.second, int(p.mated), p.fold, d) for p, d in zip(pairs, scores.distances.tolist(), strict=True)],
        _groups(templates.vectors, [file.parent.name for file in templates.files], ask),
    )


def _files(pairs: Sequence[Pair]) -> Iterator[tuple[object, object]]:
    return ((pair.first, pair.second) for pair in pairs)


def over_folder(templates: Templates, subjects: Sequence[str], ask: Question) -> Experiment:
    """Every photograph against every other one."""
    who = np.asarray(subjects)
    comparisons = AllPairs(templates.vectors, who)
    figures = verification.summarise_all_pairs(comparisons, ask.threshold, templates.failures, ask.resamples, ask.seed)
    return Experiment(
        "folder",
        figures,
        comparisons.mated,
        comparisons.non_mated,
        ("FMR", "FNMR"),
        hardest_of_all_pairs(templates.vectors, who, ask.threshold),
        ("first_subject", "second_subject", "mated", "distance"),
        _subject_rows(comparisons),
        _groups(templates.vectors, subjects, ask),
    )


def _subject_rows(comparisons: AllPairs) -> Iterator[Sequence[object]]:
    """All mated comparisons and the nearest non-mated ones."""
    yield from ((a, b, 1, d) for a, b, d in comparisons.mated_rows())
    yield from ((a, b, 0, d) for a, b, d in islice(comparisons.non_mated_rows(), ROWS))


def over_gallery(templates: Templates, subjects: Sequence[str], roles: Roles, ask: Question) -> Experiment:
    """Each probe searched for among the enrolled. Groups are over all pairs of all photographs."""
    who, enrolled, probes = np.asarray(subjects), np.array(roles.enrolled), np.array(roles.probes)
    vectors = templates.vectors
    found = identification.search(vectors[probes], who[probes].tolist(), vectors[enrolled], who[enrolled].tolist())
    nearest = enrolled[found.reference]
    figures = dict(identification.summarise(found, ask.threshold, ask.resamples, ask.seed))
    figures |= verification.enrolment(templates.failures, len(templates.files))
    first = np.where(found.rank == 1, found.own, np.inf)[found.mated]
    own = found.mated & (found.rank == 1)
    columns = (probes, nearest, found.mated, found.rank, found.own, found.nearest)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return Experiment(
        "gallery",
        figures,
        np.sort(first),
        np.sort(found.nearest[~found.mated]),
        ("FPIR", "FNIR"),
        hardest_searches(probes.tolist(), nearest.tolist(), own, found.nearest, ask.threshold),
        ("probe", "nearest", "mated", "rank", "own_distance", "nearest_distance"),
        [(templates.files[p], templates.files[n], int(m), *others) for p, n, m, *others in rows],
        _groups(vectors, subjects, ask),
    )


def _groups(vectors: Vectors, subjects: Sequence[str], ask: Question) -> list[dict[str, Any]]:
    who = np.asarray(subjects)
    options = (ask.threshold, ask.resamples, ask.seed)
    return [group_rates(vectors, who, grouping, *options) for grouping in ask.groupings]
