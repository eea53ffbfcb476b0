"""The scale that puts a rate at a threshold."""

import numpy as np
import pytest

from facesvc.core.decide import Calibration
from facesvc.errors import TargetFmrUnsupported
from tests.support.databases import unit_vectors
from training.calibration.fit import fit_scale, measure

DISTANCES = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
FMR = np.array([0.0, 0.0, 0.001, 0.003, 0.9])


@pytest.mark.parametrize(
    ("target", "at", "scale"),
    [
        (1e-3, 1.1, 1.1),  # at 1.0
        (2e-3, 1.1, 1.1 / 1.25),  # half way from 1.0 to 1.5
        (5e-4, 1.1, 1.1 / 0.75),
        (1e-3, 0.5, 0.5),
        (0.0, 1.1, 2.2),  # the last distance at which nobody matched
    ],
)
def test_the_threshold_of_the_target_moves_there(target: float, at: float, scale: float) -> None:
    assert fit_scale(DISTANCES, FMR, target, at) == pytest.approx(scale)


@pytest.mark.parametrize("target", [0.9, 0.95])
def test_a_target_beyond_the_curve(target: float) -> None:
    with pytest.raises(TargetFmrUnsupported, match=r"from 0 to 0\.9 and never crosses"):
        fit_scale(DISTANCES, FMR, target)


def test_a_target_below_the_curve() -> None:
    with pytest.raises(TargetFmrUnsupported, match=r"from 0\.002 to 0\.902 and never crosses 0\.001"):
        fit_scale(DISTANCES, FMR + 0.002, 1e-3)


def test_no_distance_above_zero() -> None:
    with pytest.raises(TargetFmrUnsupported, match="no distance above 0"):
        fit_scale(DISTANCES, np.array([0.0, 0.1, 0.2, 0.3, 0.4]), 0.0)


@pytest.mark.parametrize("target", [0.05, 0.02])
def test_scaled_vectors_have_the_rate_at_the_threshold(target: float) -> None:
    people = np.repeat(np.arange(40), 10)
    vectors = np.repeat(unit_vectors(40, seed=3), 10, axis=0)[:, :8] + 0.5 * unit_vectors(400, seed=4)[:, :8]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    subjects = [str(i) for i in people]

    def curve(scaled: np.ndarray, norm: float) -> Calibration:
        return measure(scaled, subjects, template_version="v", norm=norm, data="", resamples=100)

    before = curve(vectors, 1.0)
    factor = fit_scale(before.distances, before.fmr_high, target)
    after = curve((vectors * np.sqrt(factor)).astype(np.float32), float(np.sqrt(factor)))
    assert after.claimed_interval(1.1)[1] == pytest.approx(target, rel=0.01)
    assert after.threshold_for(0.1) == pytest.approx(before.threshold_for(0.1) * factor, abs=0.02)
