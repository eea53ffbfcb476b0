"""Templates of 128 bytes: values, and how far a distance can move."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesvc.core.compare import squared_l2
from facesvc.core.types import Vectors
from training.quantisation import LARGEST, STEP, from_bytes, to_bytes


def unit(values: list[float]) -> Vectors:
    """(1 128): the values, and a last component that makes up the length."""
    vector = np.zeros(128)
    vector[: len(values)] = values
    vector[-1] = np.sqrt(1 - np.square(vector).sum())
    return vector[None].astype(np.float32)


def random_units(seed: int, count: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, 128))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_components_are_rounded_to_whole_steps_and_cut_at_the_largest() -> None:
    given_values = [10.4 / 256, -10.6 / 256, 0.5 / 256, 1.5 / 256, 127 / 256, -200 / 256]
    quantised = to_bytes(unit(given_values))
    assert quantised.dtype == np.int8
    assert quantised[0, :6].tolist() == [10, -11, 0, 2, 127, -127]
    assert from_bytes(quantised)[0, :6].tolist() == [10 / 256, -11 / 256, 0.0, 2 / 256, 127 / 256, -127 / 256]


def test_a_template_takes_128_bytes() -> None:
    assert to_bytes(random_units(0, 3)).nbytes == 3 * 128


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_no_component_and_no_distance_moves_beyond_its_bound(seed: int) -> None:
    vectors = random_units(seed, 40)
    restored = from_bytes(to_bytes(vectors))
    assert np.abs(vectors).max() < LARGEST * STEP  # else the bound doesn't hold
    assert np.abs(restored - vectors).max() <= STEP / 2
    roots, moved = np.sqrt(squared_l2(vectors, vectors)), np.sqrt(squared_l2(restored, restored))
    assert np.abs(roots - moved).max() <= STEP * np.sqrt(128)


def test_distances_usually_move_by_a_hundredth_of_a_threshold() -> None:
    """For rounding errors e, uniform within half a step, the distance d of two vectors changes by about 2 (a - b) e:
    a standard deviation of 2 sqrt(d) sqrt(2) STEP / sqrt(12), 0.0045 at the d = 2 of strangers."""
    vectors = random_units(1, 200)
    change = squared_l2(from_bytes(to_bytes(vectors)), from_bytes(to_bytes(vectors))) - squared_l2(vectors, vectors)
    strangers = change[np.triu_indices(200, 1)]
    assert strangers.std() == pytest.approx(2 * np.sqrt(2) * np.sqrt(2) * STEP / np.sqrt(12), rel=0.1)


def test_bytes_are_compared_as_they_are() -> None:
    quantised = to_bytes(random_units(2, 5))
    whole = np.square(quantised[:, None].astype(int) - quantised[None].astype(int)).sum(2)
    np.testing.assert_array_equal(squared_l2(from_bytes(quantised), from_bytes(quantised)), whole * STEP**2)


@pytest.mark.parametrize("length", [0.0, 0.99, 2.466, float("nan")])
def test_only_unit_vectors_are_taken(length: float) -> None:
    with pytest.raises(ValueError, match="unit"):
        to_bytes(random_units(3, 2) * np.float32(length))
