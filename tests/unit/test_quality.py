"""Quality measures longhand, and the named reasons on real photographs made worse one way at a time."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesvc.core.quality import QualityPolicy, assess, failures, luminance, pose, share_inside, sharpness, smooth
from facesvc.core.types import Face, Pixels, Quality
from facesvc.pipeline.align import align
from tests.unit.test_align import ARCFACE

POLICY = QualityPolicy()
FRONTAL = np.array([(20, 40), (60, 40), (40, 62.8), (24, 80), (56, 80)], np.float32)
"""Eyes 40 px apart, the mouth 40 px below them, the nose on the midline 0.57 of the way down."""
FACES = {
    "obama": Face(
        np.array([371, 91, 610, 420], np.float32),
        np.array([(439, 215), (554, 215), (495, 269), (441, 319), (547, 321)], np.float32),
        0.95,
    ),
    "obama2": Face(
        np.array([201, 229, 476, 633], np.float32),
        np.array([(245, 376), (368, 384), (277, 456), (245, 523), (350, 532)], np.float32),
        0.95,
    ),
    "biden": Face(
        np.array([416, 176, 718, 579], np.float32),
        np.array([(521, 323), (664, 327), (599, 406), (519, 463), (640, 472)], np.float32),
        0.93,
    ),
    "astronaut": Face(
        np.array([178, 63, 268, 176], np.float32),
        np.array([(200, 102), (247, 103), (220, 125), (199, 143), (240, 144)], np.float32),
        0.93,
    ),
}
"""Boxes and landmarks of the sample photographs, found by YuNet."""


@pytest.fixture(params=sorted(FACES))
def face(request: pytest.FixtureRequest) -> Face:
    return FACES[request.param]


@pytest.fixture
def photograph(pixels: dict[str, Pixels], face: Face) -> Pixels:
    return pixels[next(name for name, known in FACES.items() if known is face)]


def assessed(photograph: Pixels, face: Face, policy: QualityPolicy = POLICY) -> Quality:
    chip = align(photograph, face.landmarks, ARCFACE, 112)
    return assess(face, chip, photograph.shape[1], photograph.shape[0], policy)


def chip_blurred(photograph: Pixels, face: Face, sigma: float) -> Quality:
    chip = cv2.GaussianBlur(align(photograph, face.landmarks, ARCFACE, 112), (0, 0), sigma).astype(np.uint8)
    return assess(face, chip, photograph.shape[1], photograph.shape[0], POLICY)


def lit(photograph: Pixels, factor: float) -> Pixels:
    return np.clip(photograph * factor, 0, 255).astype(np.uint8)


# --- real photographs -----------------------------------------------------------------------------


def test_good_portraits_pass(photograph: Pixels, face: Face) -> None:
    assert assessed(photograph, face).reasons == ()


@pytest.mark.parametrize(
    ("name", "size", "sharp", "yaw", "brightness"),
    [
        ("obama", 280.4, 13.75, -0.004, 153.2),
        ("obama2", 333.3, 10.93, -0.374, 134.5),
        ("biden", 348.9, 11.92, 0.190, 113.4),
        ("astronaut", 100.8, 12.10, -0.055, 161.0),
    ],
)
def test_measures_of_the_samples(
    pixels: dict[str, Pixels], name: str, size: float, sharp: float, yaw: float, brightness: float
) -> None:
    measured = assessed(pixels[name], FACES[name])
    assert measured.face_size == pytest.approx(size, abs=0.1)
    assert measured.sharpness == pytest.approx(sharp, abs=0.05)
    assert measured.yaw == pytest.approx(yaw, abs=0.001)
    assert measured.brightness == pytest.approx(brightness, abs=0.2)


def test_blur_is_named_from_where_it_hurts(photograph: Pixels, face: Face) -> None:
    values = [chip_blurred(photograph, face, sigma).sharpness for sigma in (0.5, 1, 2, 3, 4, 6)]
    assert values == sorted(values, reverse=True)
    assert chip_blurred(photograph, face, 1).reasons == ()
    assert chip_blurred(photograph, face, 4).reasons == ("face_blurred",)


def test_noise_does_not_pass_for_sharpness(photograph: Pixels, face: Face) -> None:
    chip = cv2.GaussianBlur(align(photograph, face.landmarks, ARCFACE, 112), (0, 0), 5)
    noise = np.random.default_rng(0).normal(0, 3, chip.shape)
    noisy = np.clip(chip + noise, 0, 255).astype(np.uint8)
    assert assess(face, noisy, photograph.shape[1], photograph.shape[0], POLICY).reasons == ("face_blurred",)


def test_light_does_not_change_sharpness(photograph: Pixels, face: Face) -> None:
    as_lit, dim = assessed(photograph, face), assessed(lit(photograph, 0.4), face)
    assert dim.sharpness == pytest.approx(as_lit.sharpness, rel=0.03)
    assert dim.brightness == pytest.approx(as_lit.brightness * 0.4, abs=1)
    assert dim.reasons == ()


def test_a_dark_photograph_is_named(photograph: Pixels, face: Face) -> None:
    assert "face_too_dark" in assessed(lit(photograph, 0.1), face).reasons
    assert assessed(lit(photograph, 0.1), face).brightness < 20


def test_an_over_exposed_photograph_is_named(photograph: Pixels, face: Face) -> None:
    burnt = assessed(lit(photograph, 8.0), face)
    assert "face_too_bright" in burnt.reasons
    assert burnt.brightness > 240


def test_a_small_face_is_named(photograph: Pixels, face: Face) -> None:
    factor = 31 / face.size
    small = cv2.resize(photograph, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
    assert assessed(small, face.scaled(factor)).reasons[0] == "face_too_small"
    factor = 40 / face.size
    small = cv2.resize(photograph, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
    assert "face_too_small" not in assessed(small, face.scaled(factor)).reasons


def test_a_face_cut_by_the_border_is_named(photograph: Pixels, face: Face) -> None:
    """The photograph ends between the eyes: the detector still guesses the eye that is not there."""
    left = int(face.landmarks[2, 0])
    shift = np.array([left, 0], np.float32)
    cut = Face(face.box - np.array([left, 0, left, 0], np.float32), face.landmarks - shift, face.score)
    assert "face_cut_off" in assessed(np.ascontiguousarray(photograph[:, left:]), cut).reasons


def test_chips_of_other_sizes_measure_alike(photograph: Pixels, face: Face) -> None:
    h, w = photograph.shape[:2]
    values = []
    for size in (112, 150, 160):
        chip = align(photograph, face.landmarks, ARCFACE * size / 112, size)
        values.append(assess(face, chip, w, h, POLICY).sharpness)
    assert max(values) / min(values) < 1.12


# --- pose -----------------------------------------------------------------------------------------


def turned(degrees: float, points: np.ndarray = FRONTAL) -> np.ndarray:
    """A head turned about its upright axis, seen from afar; the nose stands out by half the eyes' distance."""
    angle, centre = np.radians(degrees), np.array([40.0, 60.0])
    flat = (points - centre).astype(np.float64)
    depth = np.array([0, 0, 20, 0, 0])
    return np.stack([flat[:, 0] * np.cos(angle) + depth * np.sin(angle), flat[:, 1]], 1).astype(np.float32) + 50


def test_a_frontal_face_has_no_pose() -> None:
    assert pose(FRONTAL) == pytest.approx((0, 0, 0), abs=1e-6)


@pytest.mark.parametrize("degrees", [-75, -45, -20, 0, 10, 30, 60, 80])
def test_yaw_is_the_sine_of_the_angle(degrees: float) -> None:
    assert pose(turned(degrees))[0] == pytest.approx(np.sin(np.radians(degrees)), abs=1e-5)


@pytest.mark.parametrize(("degrees", "reasons"), [(50, ()), (-50, ()), (56, ("face_turned",)), (-56, ("face_turned",))])
def test_profiles_are_named(degrees: float, reasons: tuple[str, ...]) -> None:
    """sin 53.1 degrees is the limit of 0.8."""
    yaw, pitch, roll = pose(turned(degrees))
    assert failures(Quality(100, 10, yaw, pitch, roll, 128, 40), 1.0, POLICY) == reasons


@pytest.mark.parametrize(
    ("nose", "pitch"),
    [(40 + 40 * 0.57, 0.0), (40 + 40 * 0.785, 0.5), (40 + 40 * 0.355, -0.5), (90.0, 1.0), (30.0, -1.0)],
)
def test_pitch_by_where_the_nose_falls(nose: float, pitch: float) -> None:
    points = FRONTAL.copy()
    points[2, 1] = nose
    assert pose(points)[1] == pytest.approx(pitch, abs=1e-5)


@given(st.floats(-80, 80), st.floats(-179, 179), st.floats(0.1, 50), st.floats(-500, 500))
def test_pose_knows_neither_size_nor_place_and_tells_roll_apart(
    degrees: float, roll: float, scale: float, shift: float
) -> None:
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    points = turned(degrees).astype(np.float64) @ np.array([[c, s], [-s, c]]) * scale + shift
    yaw, pitch, found = pose(points)  # type: ignore[arg-type]
    assert (yaw, pitch) == pytest.approx((np.sin(np.radians(degrees)), 0), abs=1e-3)
    assert found == pytest.approx(roll, abs=0.01)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), 7.0), FRONTAL * [0, 1], FRONTAL * [1, 0]])
def test_degenerate_landmarks_have_a_finite_pose(points: np.ndarray) -> None:
    yaw, pitch, roll = pose(points.astype(np.float32))
    assert (abs(yaw) <= 1, abs(pitch) <= 1, abs(roll) <= 180) == (True, True, True)


# --- measures longhand ----------------------------------------------------------------------------


def test_luminance_is_rec_601() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]]], np.uint8)
    expected = [[76.245, 149.685, 29.07, 255, 18.15]]
    assert luminance(colours) == pytest.approx(np.array(expected), abs=1e-3)


def test_smoothing_by_binomial_weights() -> None:
    point = np.zeros((5, 5), np.float32)
    point[2, 2] = 16
    assert smooth(point).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_sharpness_of_a_point_longhand() -> None:
    """Two smoothings of an impulse give (1 4 6 4 1) x (1 4 6 4 1) / 256; the Laplacian of what is left of it."""
    point = np.zeros((9, 9), np.float32)
    point[4, 4] = 256
    row = np.array([1, 4, 6, 4, 1])
    fine = np.outer(row, row)
    laplacian = fine[:-2, 1:-1] + fine[2:, 1:-1] + fine[1:-1, :-2] + fine[1:-1, 2:] - 4 * fine[1:-1, 1:-1]
    deviation = np.sqrt(256**2 / 81 - (256 / 81) ** 2)
    assert sharpness(point) == pytest.approx(100 * np.abs(laplacian).mean() / deviation, rel=1e-5)


def test_a_flat_chip_and_a_ramp_have_no_detail() -> None:
    assert sharpness(np.full((20, 20), 99, np.float32)) == 0.0
    assert sharpness(np.tile(np.arange(20, dtype=np.float32), (20, 1))) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((0, 0, 100, 100), 1.0),
        ((-50, 0, 50, 100), 0.5),
        ((-50, -50, 50, 50), 0.25),
        ((50, 50, 250, 150), 0.125),
        ((200, 200, 300, 300), 0.0),
        ((10, 10, 10, 20), 0.0),
    ],
)
def test_share_of_a_box_inside(box: tuple[float, ...], share: float) -> None:
    centre = np.full((5, 2), 50, np.float32)
    assert share_inside(Face(np.array(box, np.float32), centre, 1), 100, 100) == share


@pytest.mark.parametrize(("point", "share"), [((0, 0), 1.0), ((100, 80), 1.0), ((-0.5, 5), 0.0), ((5, 80.5), 0.0)])
def test_landmarks_beyond_the_border_are_guesses(point: tuple[float, float], share: float) -> None:
    points = np.full((5, 2), 50, np.float32)
    points[3] = point
    assert share_inside(Face(np.array([0, 0, 80, 80], np.float32), points, 1), 100, 80) == share


# --- limits ---------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "face_size": 32.0,
    "sharpness": 4.0,
    "yaw": 0.8,
    "pitch": -0.4,
    "roll": 170.0,
    "brightness": 20.0,
    "contrast": 3.0,
}


def test_limits_are_inclusive_and_roll_is_free() -> None:
    assert failures(Quality(**GOOD), 0.6, POLICY) == ()
    assert failures(replace(Quality(**GOOD), brightness=240.0), 1.0, POLICY) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"face_size": 31.9}, "face_too_small"),
        ({"sharpness": 3.9}, "face_blurred"),
        ({"contrast": 2.9}, "face_blurred"),
        ({"yaw": -0.81}, "face_turned"),
        ({"pitch": 0.56}, "face_turned"),
        ({"brightness": 19.9}, "face_too_dark"),
        ({"brightness": 240.1}, "face_too_bright"),
    ],
)
def test_each_limit_has_its_reason(change: dict[str, Any], reason: str) -> None:
    assert failures(Quality(**(GOOD | change)), 1.0, POLICY) == (reason,)


def test_reasons_come_in_the_order_of_the_errors() -> None:
    worst = Quality(1, 0, 1, 1, 0, 0, 0)
    expected = ("face_too_small", "face_blurred", "face_turned", "face_too_dark", "face_cut_off")
    assert failures(worst, 0.0, POLICY) == expected


def test_a_policy_of_ones_own(pixels: dict[str, Pixels]) -> None:
    strict = QualityPolicy(face_size=300, sharpness=20, yaw=0.001)
    assert assessed(pixels["obama"], FACES["obama"], strict).reasons == (
        "face_too_small",
        "face_blurred",
        "face_turned",
    )
