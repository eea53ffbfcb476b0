"""The measured curve and its intervals, against counting every pair."""

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from facesvc.core.decide import Calibration
from facesvc.errors import RequestError
from facesvc.evaluation.intervals import rates_at_interval
from tests.support.databases import unit_vectors
from training.calibration.fit import measure, tally

pytestmark = pytest.mark.xdist_group("calibration-fit")  # one worker: it fits once

PEOPLE = np.repeat(np.arange(26), 20)
SUBJECTS = [f"p{i:02}" for i in PEOPLE]
VERSION = "sha256:" + "0" * 64


def templates(norm: float = 1.0) -> np.ndarray:
    """Twenty noisy templates of each of 26 people, the noise of some people larger."""
    noise = np.linspace(0.3, 1.6, 26)[PEOPLE, None]
    noisy = np.repeat(unit_vectors(26, seed=1), 20, axis=0) + noise * unit_vectors(520, seed=2)
    return (norm * noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def measured(**options: object) -> Calibration:
    arguments = {"template_version": VERSION, "norm": 1.0, "data": "made up", "resamples": 200, **options}
    return measure(arguments.pop("vectors", templates()), SUBJECTS, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def curve() -> Calibration:
    return measured()


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    return squared_l2(templates(), templates())


def test_every_pair_counts_once(curve: Calibration, exact: np.ndarray) -> None:
    once = np.triu(np.ones_like(exact, bool), 1)
    same = PEOPLE[:, None] == PEOPLE[None]
    assert (curve.mated, curve.non_mated) == (26 * 190, 520 * 519 // 2 - 26 * 190)
    for distance, fmr, fnmr in zip(curve.distances, curve.fmr, curve.fnmr, strict=True):
        assert fmr == pytest.approx((exact[once & ~same] < distance).mean(), abs=2e-8)
        assert fnmr == pytest.approx((exact[once & same] >= distance).mean(), abs=2e-4)  # one of 4,940 on the edge


def test_what_it_rests_on_is_said(curve: Calibration) -> None:
    assert curve.data == "made up: 26 people, 520 photographs"
    assert (curve.independent, curve.smallest_fmr) == (325, pytest.approx(3 / 325))


def test_the_grid_is_fine_where_thresholds_lie(curve: Calibration) -> None:
    steps = np.diff(curve.distances).round(6)
    assert set(steps[curve.fmr[:-1] < 0.1]) == {0.01}
    assert set(steps[curve.fmr[:-1] > 0.2]) == {0.1}
    assert (curve.distances[0], curve.distances[-1]) == (0.0, 4.0)
    assert 1.1 in curve.distances


def test_longer_vectors_lie_further_apart() -> None:
    long = measured(vectors=templates(2.5), norm=2.5)
    assert long.distances[-1] == 25.0
    assert long.fnmr_at(6.25) == pytest.approx(measured().fnmr_at(1.0), abs=1e-3)


@pytest.mark.parametrize("threshold", [1.4, 1.6, 1.8])
def test_intervals_are_those_of_the_evaluation(curve: Calibration, threshold: float) -> None:
    expected = rates_at_interval(templates(), np.array(SUBJECTS), threshold, resamples=200)
    assert curve.fnmr_at(threshold) == pytest.approx(expected["fnmr"].value, abs=1e-9)
    assert curve.fmr_at(threshold) == pytest.approx(expected["fmr"].value, abs=1e-9)
    fmr, fnmr = expected["fmr"], expected["fnmr"]
    assert curve.fnmr_interval(threshold) == pytest.approx((fnmr.low, max(fnmr.high, 3 / 260)), abs=1e-9)
    assert curve.claimed_interval(threshold) == pytest.approx((fmr.low, max(fmr.high, 3 / 325)), abs=1e-9)


def test_errors_never_seen_are_bounded_by_the_rule_of_three(curve: Calibration) -> None:
    assert (curve.fmr[0], curve.fmr_low[0], curve.fmr_high[0]) == (0, 0, pytest.approx(3 / 325))
    assert (curve.fnmr[-1], curve.fnmr_low[-1], curve.fnmr_high[-1]) == (0, 0, pytest.approx(3 / 260))


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Mated comparisons of each person fail at that person's own rate: 60 populations of 40 people, drawn anew."""
    generator = np.random.default_rng(5)
    truth, hits = 0.3, 0
    for _ in range(60):
        own = generator.beta(3, 7, 40)  # of mean 0.3
        axis = np.repeat(np.arange(40), 2)
        vectors = np.zeros((80, 128), np.float32)
        vectors[np.arange(80), axis] = 1
        failed = generator.random(40) < own
        vectors[1::2][failed] = 0
        vectors[1::2][failed, 100] = 1  # away from the person's own axis: at distance 2
        found = measure(vectors, [str(i) for i in axis], template_version=VERSION, norm=1, data="", resamples=200)
        low, high = found.fnmr_interval(1.0)
        hits += low <= truth <= high
    assert 53 <= hits <= 60


def test_cross_fitted_templates_meet_their_own_fold_only(exact: np.ndarray) -> None:
    folds = PEOPLE % 2
    curve = measured(folds=folds)
    met = np.triu(folds[:, None] == folds[None], 1) & (PEOPLE[:, None] != PEOPLE[None])
    assert (curve.non_mated, curve.independent, curve.mated) == (met.sum(), 2 * 13 * 12 // 2, 26 * 190)
    assert curve.fmr_at(1.8) == pytest.approx((exact[met] < 1.8).mean(), abs=2e-5)


def test_weights_stand_for_people_drawn_several_times() -> None:
    """By hand: people 0 (two photographs at 0 and 1 of a line) and 1 (at 3), person 0 drawn twice, person 1 thrice."""
    vectors = np.array([[0.0], [1.0], [3.0]], np.float32)
    people, folds = np.array([0, 0, 1]), np.zeros(3, np.int64)
    counted = tally(vectors, people, folds, np.array([1.0, 2.0, 5.0, 10.0]), np.array([[1.0, 1.0], [2.0, 3.0]]))
    assert counted.mated.tolist() == [[0, 1, 1, 1, 1], [0, 2, 2, 2, 2]]  # 1 - 0 squared is 1: not below 1
    assert counted.non_mated.tolist() == [[0, 0, 1, 2, 2], [0, 0, 6, 12, 12]]  # 4 and 9
    assert counted.fmr.tolist() == [[0, 0, 0.5, 1], [0, 0, 0.5, 1]]
    assert counted.fnmr.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    assert counted.pairs == 1


@pytest.mark.parametrize("subjects", [["a", "a"], ["a", "b"]])
def test_a_curve_needs_both_kinds_of_comparison(subjects: list[str]) -> None:
    with pytest.raises(RequestError, match="two people, and somebody with two photographs"):
        measure(unit_vectors(2), subjects, template_version=VERSION, norm=1.0, data="")
