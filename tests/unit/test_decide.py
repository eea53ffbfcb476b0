"""Decisions: the strict edge, thresholds by value and by target rate, and what a calibration can't support."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesvc.core.decide import (
    DEFAULT_THRESHOLD,
    Calibration,
    Decision,
    DecisionRule,
    Threshold,
    choose_threshold,
    false_positive_identification_rate,
)
from facesvc.errors import CalibrationMissing, InvalidThreshold, TargetFmrUnsupported

VERSION = "sha256:pack"
CURVE = Calibration(
    id="sha256:curve",
    template_version=VERSION,
    distances=np.array([0.0, 0.5, 1.0, 1.2, 2.0]),
    fmr=np.array([0.0, 0.0, 0.001, 0.01, 0.9]),
    fnmr=np.array([1.0, 0.2, 0.05, 0.03, 0.0]),
    fmr_low=np.array([0.0, 0.0, 0.0004, 0.008, 0.88]),
    fmr_high=np.array([1e-4, 1e-4, 0.002, 0.012, 0.92]),
    fnmr_low=np.array([1.0, 0.15, 0.04, 0.02, 0.0]),
    fnmr_high=np.array([1.0, 0.25, 0.07, 0.05, 0.01]),
    non_mated=30_000,
    mated=1000,
    data="made up",
)


def chosen(threshold: float | None = None, target: float | None = None, **options: float) -> Threshold:
    return choose_threshold(DecisionRule(threshold, target), VERSION, CURVE, **options)


# --- the decision ---------------------------------------------------------------------------------


def test_a_match_lies_strictly_below_the_threshold() -> None:
    threshold = Threshold(1.1, VERSION)
    assert threshold.decide(np.nextafter(1.1, 0)) is Decision.MATCH
    assert threshold.decide(1.1) is Decision.NO_MATCH
    assert threshold.decide(np.nextafter(1.1, 2)) is Decision.NO_MATCH
    assert threshold.decide(0.0) is Decision.MATCH


def test_nothing_is_concluded_from_a_failed_sample() -> None:
    assert [Threshold(1.1, VERSION).decide(d, conclusive=False) for d in (0.0, 1.1, 4.0)] == [Decision.INCONCLUSIVE] * 3


def test_a_distance_that_is_no_number_is_no_match() -> None:
    assert Threshold(1.1, VERSION).decide(float("nan")) is Decision.NO_MATCH


@given(st.floats(0, 4), st.floats(0, 4))
def test_decisions_are_monotone(distance: float, value: float) -> None:
    threshold = Threshold(value, VERSION)
    assert threshold.matches(distance) == (distance < value)
    assert not (threshold.matches(distance) and not threshold.matches(distance / 2))


# --- thresholds by value --------------------------------------------------------------------------


def test_the_default_threshold_carries_its_contract() -> None:
    assert DEFAULT_THRESHOLD == 1.1
    threshold = chosen()
    assert (threshold.value, threshold.template_version, threshold.calibration) == (1.1, VERSION, "sha256:curve")
    assert threshold.fmr == pytest.approx(0.0055)  # half way from 0.001 to 0.01
    assert threshold.fmr_interval == pytest.approx((0.0042, 0.007))


def test_a_threshold_given_wins_over_the_default() -> None:
    none_seen = Threshold(0.5, VERSION, 1e-4, (0.0, 1e-4), "sha256:curve")  # is not none
    assert chosen(0.5, default=0.9) == none_seen
    assert chosen(default=1.2) == Threshold(1.2, VERSION, 0.01, (0.008, 0.012), "sha256:curve")


def test_an_unknown_rate_is_said_not_guessed() -> None:
    assert choose_threshold(DecisionRule(0.8), VERSION, None) == Threshold(0.8, VERSION, None, None, None)


@pytest.mark.parametrize("value", [0.0, -0.1, 4.000001, float("nan"), float("inf"), float("-inf")])
def test_thresholds_beyond_any_distance_are_refused(value: float) -> None:
    with pytest.raises(InvalidThreshold, match=r"outside 0\.\.4"):
        chosen(value)


def test_the_largest_distance_depends_on_the_norm() -> None:
    assert chosen(4.0).value == 4.0
    assert chosen(24.0, norm=2.466).value == 24.0
    with pytest.raises(InvalidThreshold, match=r"25 is outside 0\.\.24\.3246"):
        chosen(25.0, norm=2.466)


def test_a_threshold_and_a_target_contradict_each_other() -> None:
    with pytest.raises(InvalidThreshold, match="not both"):
        chosen(1.1, 0.01)


# --- thresholds by target rate --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "value", "fmr"),
    [(0.01, 1.2, 0.01), (0.0099, 1.0, 0.001), (0.001, 1.0, 0.001), (0.0001, 0.5, 0.0001), (0.95, 2.0, 0.9)],
)
def test_the_largest_measured_threshold_within_the_target(target: float, value: float, fmr: float) -> None:
    threshold = chosen(target=target)
    assert (threshold.value, threshold.fmr, threshold.calibration) == (value, fmr, "sha256:curve")


@pytest.mark.parametrize(("target", "value"), [(0.95, 2.0), (0.012, 1.2), (0.01, 1.0), (0.0019, 0.5), (1e-4, 0.5)])
def test_or_by_the_high_end_of_the_interval(target: float, value: float) -> None:
    assert CURVE.threshold_for(target, upper=True) == value


@pytest.mark.parametrize(
    ("fmr", "references", "rate"), [(0.01, 0, 0.0), (0.01, 1, 0.01), (0.5, 2, 0.75), (2e-4, 1700, 0.2882)]
)
def test_a_larger_gallery_has_more_strangers_match(fmr: float, references: int, rate: float) -> None:
    assert false_positive_identification_rate(fmr, references) == pytest.approx(rate, abs=1e-4)


def test_comparisons_of_the_same_people_count_once() -> None:
    curve = replace(CURVE, independent=300)
    assert curve.smallest_fmr == pytest.approx(1e-2)
    assert curve.claimed_fmr(1.0) == pytest.approx(1e-2)
    assert curve.claimed_fmr(1.6) == pytest.approx(0.455)
    assert curve.claimed_interval(1.0) == pytest.approx((0.0004, 1e-2))
    assert curve.claimed_interval(1.6) == pytest.approx((0.444, 0.466))
    with pytest.raises(TargetFmrUnsupported):
        curve.threshold_for(0.001)


def test_the_rule_of_three_bounds_the_targets() -> None:
    assert CURVE.smallest_fmr == pytest.approx(1e-4)  # 3 / 30,000
    assert CURVE.threshold_for(1.0000001e-4) == 0.5
    with pytest.raises(TargetFmrUnsupported, match=r"9\.9e-05 is outside 0\.0001\.\.1: .* 30000 independent non-mated"):
        CURVE.threshold_for(9.9e-5)


@pytest.mark.parametrize("target", [0.0, -0.01, 1.0, 2.0, float("nan")])
def test_targets_that_are_no_rates_are_refused(target: float) -> None:
    with pytest.raises(TargetFmrUnsupported):
        chosen(target=target)


def test_a_target_needs_a_calibration() -> None:
    with pytest.raises(CalibrationMissing):
        choose_threshold(DecisionRule(target_fmr=0.01), VERSION, None)


def test_no_threshold_is_made_up_where_none_was_measured_low_enough() -> None:
    with pytest.raises(TargetFmrUnsupported, match="no measured threshold"):
        replace(CURVE, fmr=CURVE.fmr + 0.05).threshold_for(0.01)


def test_a_threshold_at_which_nothing_can_match_meets_no_target() -> None:
    hopeless = replace(CURVE, fmr=np.array([0.0, 0.5, 0.6, 0.7, 0.9]))
    with pytest.raises(TargetFmrUnsupported, match="no measured threshold"):
        hopeless.threshold_for(0.01)


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "fmr", "fnmr"),
    [
        (0.0, 0.0, 1.0),
        (0.25, 0.0, 0.6),
        (0.75, 0.0005, 0.125),
        (1.0, 0.001, 0.05),
        (1.1, 0.0055, 0.04),
        (1.6, 0.455, 0.015),
        (3.0, 0.9, 0.0),
    ],
)
def test_rates_are_interpolated_between_measured_points(distance: float, fmr: float, fnmr: float) -> None:
    assert CURVE.fmr_at(distance) == pytest.approx(fmr)
    assert CURVE.fnmr_at(distance) == pytest.approx(fnmr)


def test_intervals_are_interpolated_too() -> None:
    assert CURVE.fnmr_interval(1.1) == pytest.approx((0.03, 0.06))
    assert CURVE.claimed_interval(1.6) == pytest.approx((0.444, 0.466))
    assert CURVE.claimed_interval(0.25) == pytest.approx((0.0, 1e-4))


def test_two_people_support_no_claim_at_all() -> None:
    curve = replace(CURVE, independent=1)
    assert (curve.smallest_fmr, curve.claimed_fmr(0.5), curve.claimed_interval(0.5)) == (1.0, 1.0, (0.0, 1.0))


@given(st.floats(1.1e-4, 0.99))
def test_a_target_is_kept(target: float) -> None:
    threshold = CURVE.threshold_for(target)
    assert CURVE.fmr_at(threshold) <= target
    higher = CURVE.distances[CURVE.distances > threshold]
    assert all(CURVE.fmr_at(d) > target for d in higher)
