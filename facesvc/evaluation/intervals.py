"""Bootstrap intervals of error rates that respect what depends on what.

Comparisons that share a person are not independent: one look-alike spoils many of them. So people are drawn with
replacement, not comparisons, and with each person come all comparisons of theirs: the vertex bootstrap of Snijders
and Borgatti 1999 (Connections 22, 61-70), recommended for 1:1 error rates by Fogliato, Patil and Perona 2024 (IJCV);
the subsets bootstrap of Bolle, Ratha and Pankanti 2004 (CVIU 93, 1-33) made it known in biometrics. It errs on the
wide side for all pairs. Where an error was never seen every resample is free of it too; the interval is then
Wilson's over the independent units (people with mated comparisons, pairs of people).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.core.metrics import wilson
from facesvc.core.types import Vectors
from facesvc.evaluation.comparisons import AllPairs, Comparisons, Counts, Distances, Draw, pair_list

RESAMPLES = 1000


class Interval(NamedTuple):
    """value: of the data themselves; low, high: percentiles over the resamples (95 % unless asked otherwise)."""

    value: float
    low: float
    high: float


class Statistic(Protocol):
    """A rate, 0..1, of a set of comparisons."""

    def __call__(self, draw: Draw, /) -> float: ...

    def units(self, comparisons: Comparisons, /) -> int:
        """How many independent units it counts; bounds it where nothing was ever seen to vary."""
        ...


@dataclass(frozen=True, slots=True)
class Fmr:
    """False match rate at a threshold."""

    threshold: float

    def __call__(self, draw: Draw, /) -> float:
        return draw.fmr(self.threshold)

    def units(self, comparisons: Comparisons, /) -> int:
        return comparisons.non_mated_units


@dataclass(frozen=True, slots=True)
class Fnmr:
    """False non-match rate at a threshold."""

    threshold: float

    def __call__(self, draw: Draw, /) -> float:
        return draw.fnmr(self.threshold)

    def units(self, comparisons: Comparisons, /) -> int:
        return comparisons.mated_units


@dataclass(frozen=True, slots=True)
class TarAtFmr:
    """True accept rate at a false match rate; the threshold is found anew in each resample."""

    target: float

    def __call__(self, draw: Draw, /) -> float:
        return draw.tar_at_fmr(self.target)

    def units(self, comparisons: Comparisons, /) -> int:
        return comparisons.mated_units


@dataclass(frozen=True, slots=True)
class EqualErrorRate:
    def __call__(self, draw: Draw, /) -> float:
        return draw.equal_error_rate()

    def units(self, comparisons: Comparisons, /) -> int:
        return min(comparisons.mated_units, comparisons.non_mated_units)


def bootstrap(
    comparisons: Comparisons,
    statistics: Mapping[str, Statistic],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals (Efron 1979) of each statistic, all over the same resamples; the same for equal seeds.

    A statistic of nothing (a group without mated comparisons) is NaN, within 0 to 1.
    """
    whole = comparisons.draw(np.ones(len(comparisons.strata), np.int64))
    values = {name: statistic(whole) for name, statistic in statistics.items()}
    drawn: dict[str, list[float]] = {name: [] for name in statistics}
    for counts in resampled_counts(comparisons.strata, resamples, seed):
        draw = comparisons.draw(counts)
        for name, statistic in statistics.items():
            drawn[name].append(statistic(draw))
    return {
        name: percentiles(values[name], np.array(drawn[name]), statistic.units(comparisons), level)
        for name, statistic in statistics.items()
    }


def resampled_counts(strata: Counts, resamples: int, seed: int) -> Counts:
    """How often each unit is drawn, (resamples u): as many as a stratum has, with replacement, from each stratum."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((resamples, len(strata)), np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        counts[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return counts


def percentiles(value: float, drawn: NDArray[np.float64], units: int, level: float = 0.95) -> Interval:
    """The interval of ``value`` from its resampled values (r,), of which NaN ones (nothing to measure) are left out.

    Where all agree on 0 or 1, Wilson's interval over so many independent units.
    """
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return Interval(value, 0.0, 1.0)
    if value in (0.0, 1.0) and (drawn == value).all():
        return Interval(value, *wilson(round(value * units), units))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def identity_bootstrap(
    vectors: Vectors,
    subjects: NDArray[Any],
    statistics: Mapping[str, Statistic],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals over all pairs of photographs, people resampled: vectors (n d), subjects (n,) any labels.

    A row of NaN is a photograph that failed to enrol. Raises RequestError for fewer than two subjects.
    """
    comparisons = AllPairs(vectors, subjects)
    return bootstrap(comparisons, statistics, resamples=resamples, seed=seed, level=level)


def pair_bootstrap(
    distances: Distances,
    mated: NDArray[np.bool_],
    statistics: Mapping[str, Statistic],
    folds: Counts | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals over a list of independent pairs, (n,) each, resampled within fold and kind."""
    comparisons = pair_list(distances, mated, folds)
    return bootstrap(comparisons, statistics, resamples=resamples, seed=seed, level=level)


def rates_at_interval(
    vectors: Vectors, subjects: NDArray[Any], threshold: float, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """ "fmr" and "fnmr" at this threshold over all pairs, with their intervals over people."""
    rates: dict[str, Statistic] = {"fmr": Fmr(threshold), "fnmr": Fnmr(threshold)}
    return identity_bootstrap(vectors, subjects, rates, resamples=resamples, seed=seed)
