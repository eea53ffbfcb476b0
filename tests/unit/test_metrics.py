"""Error rates, against values worked out by hand and by counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesvc.core import metrics

MATED = np.array([0.2, 0.5, 0.9, 1.1])
NON_MATED = np.array([1.0, 1.1, 1.6, 2.0])
distances = st.lists(st.floats(0, 4), min_size=1, max_size=40).map(np.array)


def test_match_is_strictly_below_the_threshold() -> None:
    assert metrics.fmr(NON_MATED, 1.1) == 0.25  # 1.0 alone; 1.1 is not below 1.1
    assert metrics.fnmr(MATED, 1.1) == 0.25  # 1.1 does not match


@pytest.mark.parametrize(
    ("target", "threshold", "tar"), [(0.0, 1.0, 0.75), (0.25, 1.1, 0.75), (0.5, 1.6, 1.0), (1.0, float("inf"), 1.0)]
)
def test_threshold_at_fmr(target: float, threshold: float, tar: float) -> None:
    assert metrics.threshold_at_fmr(NON_MATED, target) == threshold
    assert metrics.tar_at_fmr(MATED, NON_MATED, target) == tar


def test_one_in_a_thousand_of_three_thousand_is_three() -> None:
    non_mated = np.arange(3000) / 1000
    assert metrics.fmr(non_mated, metrics.threshold_at_fmr(non_mated, 0.001)) == 3 / 3000


@given(distances, distances, st.floats(0, 1))
def test_threshold_keeps_its_promise(mated: np.ndarray, non_mated: np.ndarray, target: float) -> None:
    threshold = metrics.threshold_at_fmr(non_mated, target)
    assert metrics.fmr(non_mated, threshold) <= target + 1e-9


@given(distances, distances)
def test_curve_equals_counting(mated: np.ndarray, non_mated: np.ndarray) -> None:
    at = np.array([0.0, 0.7, 1.1, 4.5])
    below, above = metrics.error_curve(mated, non_mated, at)
    assert below.tolist() == pytest.approx([metrics.fmr(non_mated, t) for t in at])
    assert above.tolist() == pytest.approx([metrics.fnmr(mated, t) for t in at])


@given(distances, distances)
def test_auc_equals_all_pairs(mated: np.ndarray, non_mated: np.ndarray) -> None:
    wins = (mated[:, None] < non_mated).mean() + (mated[:, None] == non_mated).mean() / 2
    assert metrics.area_under_roc(mated, non_mated) == pytest.approx(wins)


def test_equal_error_rate() -> None:
    assert metrics.equal_error_rate(MATED, NON_MATED) == 0.25
    assert metrics.equal_error_rate(np.array([0.1]), np.array([2.0])) == 0.0


@given(distances, st.data())
def test_best_threshold_is_best(values: np.ndarray, data: st.DataObject) -> None:
    mated = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    found = ((values < metrics.best_threshold(values, mated)) == mated).mean()
    candidates = np.concatenate([[-1.0], values, [5.0]])
    assert found == max(((values < t) == mated).mean() for t in candidates)


def test_fold_accuracy_by_hand() -> None:
    values = np.array([0.1, 2.0, 0.2, 1.9, 3.0, 1.8])
    mated = np.array([True, False, True, False, True, False])
    accuracy = metrics.fold_accuracy(values, mated, np.array([0, 0, 1, 1, 2, 2]))
    assert accuracy.mean == pytest.approx((1 + 1 + 0.5) / 3)  # the mated pair at 3.0 can't be won
    assert accuracy.standard_error == pytest.approx(np.std([1, 1, 0.5], ddof=1) / np.sqrt(3))


def test_wilson_known_values() -> None:
    assert metrics.wilson(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert metrics.wilson(5, 50) == pytest.approx((0.0435, 0.2136), abs=1e-4)
    assert metrics.wilson(0, 0) == (0.0, 1.0)
