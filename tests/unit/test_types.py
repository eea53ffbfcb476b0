"""The nouns: what they compute and that they stay as they are."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesvc.core.types import DIMENSION, LANDMARKS, Face, FaceChoice, Image, Quality

BOX = np.array([10, 20, 50, 110], np.float32)
POINTS = np.array([[20, 40], [40, 40], [30, 60], [22, 80], [38, 80]], np.float32)


def test_words_and_numbers_that_clients_and_weights_rely_on() -> None:
    assert DIMENSION == 128
    assert LANDMARKS == ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
    assert {choice.value for choice in FaceChoice} == {"prominent", "largest", "only", "all"}


def test_scale_is_decoded_pixels_per_pixel_sent() -> None:
    pixels = np.zeros((1500, 2000, 3), np.uint8)
    assert Image(pixels, 4000, 3000, "JPEG").scale == 0.5
    assert Image(pixels, 2000, 1500, "PNG").scale == 1.0


def test_the_size_of_a_face_is_the_geometric_mean_of_its_sides() -> None:
    assert Face(BOX, POINTS, 0.9).size == 60.0  # sqrt(40 * 90)


def test_a_box_turned_inside_out_has_no_size() -> None:
    assert Face(BOX[[2, 1, 0, 3]], POINTS, 0.9).size == 0.0


def test_a_scaled_face() -> None:
    face = Face(BOX, POINTS, 0.9).scaled(0.5)
    assert face.box.tolist() == [5, 10, 25, 55]
    assert face.landmarks.tolist() == [[10, 20], [20, 20], [15, 30], [11, 40], [19, 40]]
    assert (face.score, face.size) == (0.9, 30.0)
    assert (face.box.dtype, face.landmarks.dtype) == (np.float32, np.float32)


@given(st.floats(0.01, 100))
def test_scaling_and_back_again(factor: float) -> None:
    face = Face(BOX, POINTS, 0.9)
    again = face.scaled(factor).scaled(1 / factor)
    assert np.allclose(again.box, face.box, rtol=1e-5)
    assert np.allclose(again.landmarks, face.landmarks, rtol=1e-5)
    assert face.scaled(factor).size == pytest.approx(60 * factor, rel=1e-5)


def test_a_sample_is_acceptable_without_reasons() -> None:
    assert Quality(60, 10, 0, 0, 0, 128, 40).acceptable
    assert not Quality(60, 10, 0, 0, 0, 128, 40, ("face_blurred",)).acceptable


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Face(BOX, POINTS, 0.9).score = 1.0  # type: ignore[misc]
