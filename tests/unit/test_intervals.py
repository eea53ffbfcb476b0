"""Bootstrap intervals: against resampling done longhand, and against a truth that is known."""

from collections.abc import Callable

import numpy as np
import pytest

from facesvc.core import metrics
from facesvc.core.compare import squared_l2
from facesvc.errors import RequestError
from facesvc.evaluation.comparisons import AllPairs, Owned, pair_list
from facesvc.evaluation.intervals import (
    EqualErrorRate,
    Fmr,
    Fnmr,
    Statistic,
    TarAtFmr,
    bootstrap,
    identity_bootstrap,
    pair_bootstrap,
    percentiles,
    rates_at_interval,
    resampled_counts,
)

STATISTICS: dict[str, Statistic] = {
    "fmr": Fmr(1.1),
    "fnmr": Fnmr(1.1),
    "tar": TarAtFmr(0.02),
    "eer": EqualErrorRate(),
}
LONGHAND: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "fmr": lambda mated, non_mated: metrics.fmr(non_mated, 1.1),
    "fnmr": lambda mated, non_mated: metrics.fnmr(mated, 1.1),
    "tar": lambda mated, non_mated: metrics.tar_at_fmr(mated, non_mated, 0.02),
    "eer": metrics.equal_error_rate,
}


def people(subjects: int, photographs: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of people scattered about centres of their own, in 16 dimensions."""
    generator = np.random.default_rng(seed)
    owners = np.repeat(np.arange(subjects), photographs)
    vectors = generator.normal(size=(subjects, 16))[owners] + spread * generator.normal(size=(len(owners), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), owners


def longhand(vectors: np.ndarray, owners: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mated and non-mated distances of one resample: everyone's comparisons written out as often as drawn."""
    distances = squared_l2(vectors, vectors)
    mated, non_mated = [], []
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            a, b = owners[i], owners[j]
            if a == b:
                mated += [distances[i, j]] * counts[a]
            else:
                non_mated += [distances[i, j]] * (counts[a] * counts[b])
    return np.array(mated), np.array(non_mated)


def test_equals_resampling_longhand() -> None:
    vectors, owners = people(9, 4, 0.9, seed=3)
    found = identity_bootstrap(vectors, owners, STATISTICS, resamples=40, seed=5)
    draws = [longhand(vectors, owners, counts) for counts in resampled_counts(np.zeros(9, np.int64), 40, seed=5)]
    whole = longhand(vectors, owners, np.ones(9, int))
    for name, formula in LONGHAND.items():
        low, high = np.quantile([formula(*draw) for draw in draws], [0.025, 0.975])
        assert found[name] == pytest.approx((formula(*whole), low, high), abs=1e-12), name
        assert low < high


def test_subjects_may_be_names_in_any_order() -> None:
    vectors, owners = people(6, 3, 0.8, seed=1)
    order = np.random.default_rng(0).permutation(len(owners))
    names = np.array([f"p{owner}" for owner in owners])
    by_number = identity_bootstrap(vectors, owners, STATISTICS, resamples=20)
    assert identity_bootstrap(vectors[order], names[order], STATISTICS, resamples=20) == {
        name: pytest.approx(interval, abs=1e-12) for name, interval in by_number.items()
    }


def test_a_failure_to_enrol_matches_nothing() -> None:
    vectors, owners = people(4, 2, 0.01, seed=2)
    vectors[0] = np.nan
    rates = rates_at_interval(vectors, owners, 1.1)
    assert rates["fnmr"].value == 0.25  # one of the four mated comparisons has no template on one side
    assert AllPairs(vectors, owners).non_mated.tolist()[-6:] == [np.inf] * 6


@pytest.mark.parametrize("folds", [None, np.arange(60) % 3])
def test_pair_list_equals_repeating_pairs(folds: np.ndarray | None) -> None:
    generator = np.random.default_rng(4)
    mated = np.arange(60) < 30
    distances = np.where(mated, generator.normal(0.8, 0.3, 60), generator.normal(1.4, 0.3, 60)).clip(0)
    found = pair_bootstrap(distances, mated, STATISTICS, folds, resamples=30, seed=7)
    strata = pair_list(distances, mated, folds).strata
    repeated = [(np.repeat(distances, c), np.repeat(mated, c)) for c in resampled_counts(strata, 30, seed=7)]
    for name, formula in LONGHAND.items():
        low, high = np.quantile([formula(d[m], d[~m]) for d, m in repeated], [0.025, 0.975])
        assert found[name] == pytest.approx((formula(distances[mated], distances[~mated]), low, high)), name


def test_resamples_keep_each_stratums_size() -> None:
    strata = np.array([0, 1, 0, 1, 1])
    counts = resampled_counts(strata, 50, seed=0)
    assert counts[:, strata == 0].sum(axis=1).tolist() == [2] * 50
    assert counts[:, strata == 1].sum(axis=1).tolist() == [3] * 50


@pytest.mark.slow
def test_intervals_contain_the_truth_about_as_often_as_they_say() -> None:
    """The truth: rates among 1,500 people. Of 60 sets of 40 people, 3 intervals should miss and at most 7 may,
    where intervals over single comparisons would miss most."""
    vectors, owners = people(1500, 3, 0.9, seed=11)
    truth = identity_bootstrap(vectors, owners, {"fmr": Fmr(1.3), "fnmr": Fnmr(1.3)}, resamples=2)
    missed = {"fmr": 0, "fnmr": 0}
    for i in range(60):
        some = np.isin(owners, np.random.default_rng(i).choice(1500, 40, replace=False))
        rates = rates_at_interval(vectors[some], owners[some], 1.3, resamples=200)
        for name in missed:
            missed[name] += not rates[name].low <= truth[name].value <= rates[name].high
    assert missed["fmr"] <= 7
    assert missed["fnmr"] <= 7


def test_no_error_seen_is_not_no_error() -> None:
    """0 of the pairs of 5 people: Wilson over the 10 pairs of people, and over the 5 people."""
    vectors, owners = people(5, 4, 0.01, seed=6)
    rates = rates_at_interval(vectors, owners, 0.01)
    assert rates["fmr"] == pytest.approx((0.0, *metrics.wilson(0, 10)))
    assert rates["fnmr"] == pytest.approx((0.0, *metrics.wilson(0, 5)))
    tar = identity_bootstrap(vectors, owners, {"tar": TarAtFmr(0.01)})["tar"]
    assert tar == pytest.approx((1.0, *metrics.wilson(5, 5)))


def test_nothing_to_measure_is_unknown() -> None:
    vectors, owners = people(5, 1, 0.1, seed=6)  # one photograph each: no mated comparison
    value, low, high = rates_at_interval(vectors, owners, 1.1)["fnmr"]
    assert np.isnan(value)
    assert (low, high) == (0.0, 1.0)


def test_one_person_cannot_be_mistaken() -> None:
    with pytest.raises(RequestError, match="1 subject"):
        AllPairs(np.eye(3, 128, dtype=np.float32), np.array(["ada"] * 3))


def test_searches_are_drawn_by_the_person_searched_for() -> None:
    comparisons = Owned(
        mated=np.array([0.5, 1.5]),
        mated_units=np.array([0, 1]),
        non_mated=np.array([1.0, 1.2, 1.4]),
        non_mated_units=np.array([2, 2, 3]),
        strata=np.array([0, 0, 1, 1]),
    )
    draw = comparisons.draw(np.array([2, 0, 1, 1]))
    assert (draw.fnmr(1.1), draw.fmr(1.1)) == (0.0, 1 / 3)
    assert bootstrap(comparisons, {"fnmr": Fnmr(1.1)}, resamples=100)["fnmr"] == (0.5, 0.0, 1.0)
    assert (comparisons.mated_units, comparisons.non_mated_units) == (2, 2)


def test_percentiles_leave_out_resamples_without_a_value() -> None:
    assert percentiles(0.5, np.array([0.2, np.nan, 0.6]), units=3, level=0.5) == pytest.approx((0.5, 0.3, 0.5))
