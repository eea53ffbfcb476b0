"""The experiments that can be run over a data set's templates: a pair list, all pairs of a folder, a gallery."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from facesvc.core.types import Vectors
from facesvc.evaluation import groups, identification, verification
from facesvc.evaluation.comparisons import AllPairs, Distances, pair_list
from facesvc.evaluation.groups import Grouping
from facesvc.evaluation.hardest import HardCase, hardest, hardest_of_all_pairs, hardest_searches
from facesvc.evaluation.intervals import RESAMPLES
from facesvc.evaluation.pairs import Pair
from facesvc.evaluation.people import Roles
from facesvc.evaluation.templates import Templates

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
    return [groups.group_rates(vectors, who, grouping, *options) for grouping in ask.groupings]
