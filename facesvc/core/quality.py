"""Sample quality: measures of one face and the named reasons for which it fails.

A failed check is a result, not an exception: callers decide whether it refuses an enrolment.
Measures are taken on the aligned luminance chip, so they mean the same for every photograph size.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facesvc import errors
from facesvc.core.types import Face, Pixels, Quality

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601 luminance weights for R, G, B."""
REFERENCE_SIDE = 112
"""Side of the chip, px, for which limits on sharpness are stated."""


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """Limits outside which a sample fails; the defaults refuse only what hurts recognition.

    face_size: px, geometric mean of the box's sides; sharpness: see ``sharpness``;
    yaw, pitch: see ``pose``, absolute; brightness: mean luminance 0..255; contrast: its deviation;
    inside: see ``share_inside``.

    Found on in-the-wild photographs of 208 people with SFace, each limit near where a degradation alone moves a
    sample by half the threshold or doubles the false non-matches: 32 px; a Gaussian blur of 2.5 px on the 112 px
    chip; about 55 degrees of yaw; a chin raised until the nose lies a third of the way from eyes to mouth; light on the
    face divided by 7 or multiplied by 2.
    """

    face_size: float = 32.0
    sharpness: float = 4.0
    yaw: float = 0.8
    pitch: float = 0.55
    darkest: float = 20.0
    brightest: float = 240.0
    contrast: float = 3.0
    inside: float = 0.6


def luminance(pixels: Pixels) -> NDArray[np.float32]:
    """(h w 3) uint8 RGB -> (h w) float32, 0..255."""
    return pixels.astype(np.float32) @ LUMA


def smooth(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h w) -> (h-2 w-2), by the 3x3 binomial filter (1 2 1, Gaussian of 0.7 px)."""
    rows = (grey[:-2] + 2 * grey[1:-1] + grey[2:]) / 4
    return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4).astype(np.float32, copy=False)


def sharpness(grey: NDArray[np.float32]) -> float:
    """Fine detail per contrast of (h w) luminance, in percent: 6..17 for ordinary faces on a chip of 112 px, about 3
    after a Gaussian blur of 3 px; 0 for a flat chip.

    Mean magnitude of the 4-neighbour Laplacian over the deviation, so light doesn't change it, after two binomial
    smoothings, so sensor noise hardly does. After Pech-Pacheco et al. 2000 ("variance of Laplacian"); the magnitude
    is moved less by a few strong edges (spectacles) than the variance.
    """
    fine = smooth(smooth(grey))
    neighbours = fine[:-2, 1:-1] + fine[2:, 1:-1] + fine[1:-1, :-2] + fine[1:-1, 2:]
    deviation = float(grey.std())
    return 100 * float(np.abs(neighbours - 4 * fine[1:-1, 1:-1]).mean()) / deviation if deviation else 0.0


def pose(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """(5 2) landmarks -> yaw, pitch (-1..1, 0 is frontal) and roll (degrees), by their geometry.

    yaw: the nose's offset from the face's midline (eyes' to mouth's centre), in half eye distances across it, as
    r / sqrt(1 + r^2): the sine of the head's angle if the nose stands out by half the eyes' distance; positive when
    the nose points to the right of the image. pitch: where the nose falls between the eyes' and the mouth's lines,
    0 at the usual 0.57 of the way, positive when it falls lower. roll: angle of the eyes' line, positive clockwise.
    Proxies, not head angles: they order samples and find profiles.
    """
    points = landmarks.astype(np.float64)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    down, between = mouth - eyes, points[1] - points[0]
    height = max(float(np.hypot(*down)), 1e-6)
    across = np.array([down[1], -down[0]]) / height
    half_eyes = max(abs(float(between @ across)) / 2, height / 20)  # in profile both eyes fall together
    offset = float((points[2] - (eyes + mouth) / 2) @ across) / half_eyes
    fall = float((points[2] - eyes) @ down) / height**2
    roll = float(np.degrees(np.arctan2(between[1], between[0])))
    return offset / float(np.hypot(1, offset)), float(np.clip((fall - 0.57) / 0.43, -1, 1)), roll


def share_inside(face: Face, width: int, height: int) -> float:
    """Share of the box's area that lies within a photograph of width x height px; 0 when an eye, the nose or a corner
    of the mouth lies outside, as detectors guess what they don't see, and end their boxes at the border."""
    box, size = face.box, np.array([width, height])
    if (face.landmarks < 0).any() or (face.landmarks > size).any():
        return 0.0
    low, high = np.maximum(box[:2], 0), np.minimum(box[2:], size)
    area = float(np.prod(np.maximum(box[2:] - box[:2], 0)))
    return float(np.prod(np.maximum(high - low, 0))) / area if area else 0.0


def assess(face: Face, chip: Pixels, width: int, height: int, policy: QualityPolicy) -> Quality:
    """Quality of ``face`` (px of the photograph as sent, width x height), measured on its aligned chip (s s 3)."""
    grey = luminance(chip)
    border = len(grey) // 5  # the background
    inner = grey[border:-border, border:-border]
    fine = sharpness(inner) * len(grey) / REFERENCE_SIDE  # a larger chip shows the same detail larger
    yaw, pitch, roll = pose(face.landmarks)
    measured = Quality(face.size, fine, yaw, pitch, roll, float(inner.mean()), float(inner.std()))
    reasons = failures(measured, share_inside(face, width, height), policy)
    return replace(measured, reasons=reasons)


def failures(measured: Quality, inside: float, policy: QualityPolicy) -> tuple[str, ...]:
    """The error codes of all checks that ``measured`` fails, in the order of ``errors``."""
    checks = (
        (measured.face_size < policy.face_size, errors.FaceTooSmall),
        (measured.sharpness < policy.sharpness or measured.contrast < policy.contrast, errors.FaceBlurred),
        (abs(measured.yaw) > policy.yaw or abs(measured.pitch) > policy.pitch, errors.FaceTurned),
        (measured.brightness < policy.darkest, errors.FaceTooDark),
        (measured.brightness > policy.brightest, errors.FaceTooBright),
        (inside < policy.inside, errors.FaceCutOff),
    )
    return tuple(error.code for failed, error in checks if failed)
