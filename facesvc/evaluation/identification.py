"""1:N evaluation: photographs searched for in a gallery, of people who are in it and of strangers.

Words after ISO/IEC 19795-1 and NIST's FRTE 1:N: a mated search is of a person in the gallery. FNIR: share of mated
searches whose own subject is not ranked first, or is not below the threshold; FPIR: share of non-mated searches that
find anyone below it. A probe that failed to enrol finds nobody; a reference that failed is never found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import RequestError
from facesvc.evaluation.comparisons import BLOCK, Counts, Distances, Owned
from facesvc.evaluation.intervals import RESAMPLES, Fmr, Fnmr, Interval, Statistic, TarAtFmr, bootstrap

RANKS = 10
"""How far the cumulative match characteristic goes."""
TARGETS = {"1e-1": 0.1, "1e-2": 0.01}
"""False positive identification rates at which FNIR is told."""


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """What each probe found, (p,) each.

    subjects: who is searched for; mated: whether they are in the gallery; own: distance of their nearest reference
    (infinite where there is none); rank: 1 where that is the nearest subject of all, ties going to the others;
    nearest: distance of the nearest reference of anyone; reference: that one's row in the gallery.
    """

    subjects: NDArray[Any]
    mated: NDArray[np.bool_]
    own: Distances
    rank: Counts
    nearest: Distances
    reference: Counts
    gallery_subjects: int
    gallery_references: int


def search(probes: Vectors, probe_subjects: Sequence[str], gallery: Vectors, owners: Sequence[str]) -> Searches:
    """Searches each probe (p d) in the whole gallery (g d); rows of NaN failed to enrol.

    A subject's distance is that of its nearest reference, as in ``core.compare.fuse_minimum``.
    Raises RequestError where there is nothing to search, or in.
    """
    if not len(probes) or not len(gallery):
        raise RequestError("a gallery experiment takes at least one reference and one probe")
    names, owner = np.unique(np.asarray(owners), return_inverse=True)
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(names)))
    subjects = np.asarray(probe_subjects)
    place = np.searchsorted(names, subjects).clip(max=len(names) - 1)
    mated = names[place] == subjects
    found = [
        _search_block(probes[i : i + BLOCK], gallery[order], starts, place[i : i + BLOCK], mated[i : i + BLOCK])
        for i in range(0, len(probes), BLOCK)
    ]
    own, rank, nearest, reference = (np.concatenate(column) for column in zip(*found, strict=True))
    return Searches(subjects, mated, own, rank, nearest, order[reference], len(names), len(gallery))


def _search_block(
    probes: Vectors, gallery: Vectors, starts: Counts, place: Counts, mated: NDArray[np.bool_]
) -> tuple[Distances, Counts, Distances, Counts]:
    """own, rank, nearest and reference of some probes; the gallery is sorted by subject, each from its start on."""
    a, b = probes.astype(np.float64), gallery.astype(np.float64)
    distances = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    distances = np.where(np.isnan(distances), np.inf, np.maximum(distances, 0))
    by_subject = np.minimum.reduceat(distances, starts, axis=1)
    own = np.where(mated, by_subject[np.arange(len(a)), place], np.inf)
    rank = (by_subject <= own[:, None]).sum(axis=1) + np.where(mated, 0, 1)
    return own, rank, distances.min(axis=1), distances.argmin(axis=1)


def identify_rates(
    searches: Searches, threshold: float, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[dict[str, Interval], list[Interval]]:
    """The rates by name, and the cumulative match characteristic of ranks 1 to 10; intervals over people, drawn
    apart for those in the gallery and for strangers. Raises RequestError where there are no mated searches."""
    if not searches.mated.any():
        raise RequestError("no probe shows a person of the gallery")
    statistics: dict[str, Statistic] = {"fpir": Fmr(threshold), "fnir": Fnmr(threshold)}
    statistics |= {name: TarAtFmr(target) for name, target in TARGETS.items()}
    options = {"resamples": resamples, "seed": seed}
    first = np.where(searches.rank == 1, searches.own, np.inf)
    rates = bootstrap(_by_person(searches, first), statistics, **options)
    ranks: dict[str, Statistic] = {str(k): Fnmr(k + 0.5) for k in range(1, RANKS + 1)}
    missed = bootstrap(_by_person(searches, searches.rank.astype(np.float64)), ranks, **options)
    return rates, [opposite(missed[str(k)]) for k in range(1, RANKS + 1)]


def opposite(rate: Interval) -> Interval:
    """1 - rate."""
    return Interval(1 - rate.value, 1 - rate.high, 1 - rate.low)


def _by_person(searches: Searches, mated_scores: Distances) -> Owned:
    people, unit = np.unique(searches.subjects, return_inverse=True)
    is_mated = np.zeros(len(people), np.int64)
    is_mated[unit[searches.mated]] = 1
    mated = searches.mated
    return Owned(mated_scores[mated], unit[mated], searches.nearest[~mated], unit[~mated], is_mated)


def summarise(searches: Searches, threshold: float, resamples: int = RESAMPLES, seed: int = 0) -> Mapping[str, Any]:
    """The figures as the report writes them; FPIR and what depends on it are None without non-mated searches."""
    rates, cmc = identify_rates(searches, threshold, resamples, seed)
    has_strangers = not searches.mated.all()
    at = {name: opposite(rates[name]) for name in TARGETS}  # FNIR = 1 - the share found
    return {
        "gallery": {"subjects": searches.gallery_subjects, "references": searches.gallery_references},
        "searches": {"mated": int(searches.mated.sum()), "non_mated": int((~searches.mated).sum())},
        "rank_1": cmc[0].value,
        "rank_1_interval": cmc[0][1:],
        "cmc": [rate.value for rate in cmc],
        "cmc_interval": [rate[1:] for rate in cmc],
        "fnir_at_fpir": {name: rate.value for name, rate in at.items()} if has_strangers else None,
        "fnir_at_fpir_interval": {name: rate[1:] for name, rate in at.items()} if has_strangers else None,
        "at_threshold": {
            "threshold": threshold,
            "fpir": rates["fpir"].value if has_strangers else None,
            "fpir_interval": rates["fpir"][1:] if has_strangers else None,
            "fnir": rates["fnir"].value,
            "fnir_interval": rates["fnir"][1:],
        },
    }
