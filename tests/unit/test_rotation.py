"""core.rotation: distances stay, vectors don't link, and the turn is the same in every release."""

import hashlib

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from facesvc.core.rotation import rotation, turned
from tests.support.databases import unit_vectors

SEED, OTHER = bytes(range(32)), bytes(32)
FIRST = [0.027686212995871706, -0.006260475582176159, 0.10509857192831104, 0.10986836356048776]
"""Of the turn for SEED, issue 1."""


def test_it_is_orthogonal() -> None:
    turn = rotation(SEED, 1)
    assert (turn.shape, turn.dtype) == ((128, 128), np.float64)
    np.testing.assert_allclose(turn @ turn.T, np.eye(128), atol=1e-13)


def test_the_same_seed_and_issue_give_the_same_turn() -> None:
    """Vectors in engines outlive releases: these numbers may never change."""
    turn = rotation(SEED, 1)
    np.testing.assert_array_equal(turn, rotation(SEED, 1))
    np.testing.assert_allclose(turn[0, :4], FIRST, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_distances_are_preserved(count: int) -> None:
    vectors, probes = unit_vectors(count, 1), unit_vectors(3, 2)
    turn = rotation(SEED, 7)
    found = turned(vectors, turn)
    assert (found.shape, found.dtype) == ((count, 128), np.float32)
    np.testing.assert_allclose(squared_l2(turned(probes, turn), found), squared_l2(probes, vectors), atol=1e-6)


@pytest.mark.parametrize(("seed", "issue"), [(SEED, 2), (OTHER, 1)], ids=["issue", "tenant"])
def test_two_turns_of_one_person_are_as_far_apart_as_two_people(seed: bytes, issue: int) -> None:
    """Cosines of unrelated vectors in 128 dimensions: mean 0, standard deviation 1/sqrt(128) = 0.088."""
    vectors = unit_vectors(2000, 3)
    cosines = (turned(vectors, rotation(SEED, 1)) * turned(vectors, rotation(seed, issue))).sum(axis=1)
    assert abs(cosines.mean()) < 0.03
    assert cosines.std() == pytest.approx(128**-0.5, rel=0.1)


@pytest.mark.slow
def test_turns_are_spread_evenly() -> None:
    """By Haar's measure an entry has mean 0 and variance 1/128, and the traces of turns have mean 0 and variance 1."""
    turns = [rotation(hashlib.sha256(b"%d" % number).digest(), 1) for number in range(40)]
    entries = np.stack(turns)
    assert entries.mean() == pytest.approx(0, abs=1e-3)
    assert entries.var() == pytest.approx(1 / 128, rel=1e-3)
    traces = np.trace(entries, axis1=1, axis2=2)
    assert traces.mean() == pytest.approx(0, abs=0.5)
    assert traces.var() == pytest.approx(1, rel=0.7)
