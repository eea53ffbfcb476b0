"""The measured curve, against counting every pair."""

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from tests.databases import unit_vectors
from training.calibrate import all_distances, calibrate

LABELS = np.repeat(np.arange(26), 20)  # more rows than one block


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    people = np.repeat(unit_vectors(26, seed=1), 20, axis=0)
    noisy = people + 0.05 * unit_vectors(520, seed=2)
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def test_all_pairs_once(vectors: np.ndarray) -> None:
    exact = squared_l2(vectors, vectors)
    above = np.triu(np.ones_like(exact, bool), 1)
    same = LABELS[:, None] == LABELS[None]
    mated, non_mated = all_distances(vectors, LABELS)
    assert (len(mated), len(non_mated)) == (26 * 190, 520 * 519 // 2 - 26 * 190)
    assert np.sort(mated) == pytest.approx(np.sort(exact[above & same]), abs=1e-6)
    assert np.sort(non_mated) == pytest.approx(np.sort(exact[above & ~same]), abs=1e-6)


def test_the_curve_counts(vectors: np.ndarray) -> None:
    curve = calibrate(vectors, LABELS, "sha256:" + "0" * 64, norm=1.0, data="made up")
    exact = squared_l2(vectors, vectors)
    other = LABELS[:, None] != LABELS[None]
    assert curve.fmr_at(2.0) == pytest.approx((exact[other] < 2.0).mean(), abs=1e-6)
    assert (curve.distances[0], curve.distances[-1]) == (0.0, 4.0)
    assert (curve.independent, curve.smallest_fmr) == (325, pytest.approx(3 / 325))
    assert curve.data == "made up: 26 people, 520 photographs"
