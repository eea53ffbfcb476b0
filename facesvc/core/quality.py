"""Sample quality: measures of one face and the named reasons for which it fails.

A failed check is a result, not an exception: callers decide whether it refuses an enrolment.
Measures are taken on the aligned luminance chip, so they mean the same for every photograph size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesvc import errors
from facesvc.core.types import Face, Pixels, Quality

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601 luminance weights for R, G, B."""


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """Limits outside which a sample fails; the defaults refuse only what hurts recognition.

    face_size: px, geometric mean of the box's sides; sharpness: see ``sharpness``;
    yaw, pitch: see ``pose``, absolute; brightness: mean luminance 0..255; contrast: its deviation;
    inside: smallest share of the box's area that lies in the photograph.
    """

    face_size: float = 32.0
    sharpness: float = 1.0
    yaw: float = 0.75
    pitch: float = 0.8
    darkest: float = 20.0
    brightest: float = 240.0
    contrast: float = 8.0
    inside: float = 0.6


def luminance(pixels: Pixels) -> NDArray[np.float32]:
    """(h w 3) uint8 RGB -> (h w) float32, 0..255."""
    return pixels.astype(np.float32) @ LUMA


def sharpness(grey: NDArray[np.float32]) -> float:
    """Mean absolute 4-neighbour Laplacian of (h w) luminance: about 0 for a flat chip, 3..20 for a sharp face.

    Normalised by contrast it would reward noise, so it is not. After Pech-Pacheco et al. 2000
    ("variance of Laplacian"), with the mean magnitude, which outliers move less.
    """
    centre = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
    return float(np.abs(laplacian).mean())


def pose(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """(5 2) landmarks -> yaw, pitch (-1..1, 0 is frontal) and roll (degrees), by their geometry.

    yaw: offset of the nose from the midpoint of eyes and mouth, along the eyes' axis, in half eye distances
    (clipped). pitch: where the nose falls between the eyes' and the mouth's lines, 0 at the usual 0.55 of the way.
    roll: angle of the eyes' line. Proxies, not head angles: they order samples and find profiles.
    """
    points = landmarks.astype(np.float64)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    across, down = points[1] - points[0], mouth - eyes
    nose = points[2] - (eyes + mouth) / 2
    axis = across / max(float(np.hypot(*across)), 1e-6)
    half_eyes = max(float(np.hypot(*across)), float(np.hypot(*down)) / 2, 1e-6) / 2
    yaw = float(nose @ axis) / half_eyes
    fall = float((points[2] - eyes) @ down) / max(float(down @ down), 1e-6)
    roll = float(np.degrees(np.arctan2(across[1], across[0])))
    return float(np.clip(yaw, -1, 1)), float(np.clip((fall - 0.55) / 0.45, -1, 1)), roll


def share_inside(box: NDArray[np.float32], width: int, height: int) -> float:
    """Share of the box's area (x1 y1 x2 y2 px) that lies within a photograph of width x height px."""
    low, high = np.maximum(box[:2], 0), np.minimum(box[2:], (width, height))
    area = float(np.prod(np.maximum(box[2:] - box[:2], 0)))
    return float(np.prod(np.maximum(high - low, 0))) / area if area else 0.0


def assess(face: Face, chip: Pixels, width: int, height: int, policy: QualityPolicy) -> Quality:
    """Quality of ``face`` (px of the photograph as sent, width x height), measured on its aligned chip (s s 3)."""
    grey = luminance(chip)
    inner = grey[len(grey) // 5 : -(len(grey) // 5), len(grey) // 5 : -(len(grey) // 5)]  # leave the background out
    yaw, pitch, roll = pose(face.landmarks)
    measured = Quality(face.size, sharpness(inner), yaw, pitch, roll, float(inner.mean()), float(inner.std()))
    reasons = failures(measured, share_inside(face.box, width, height), policy)
    return Quality(face.size, measured.sharpness, yaw, pitch, roll, measured.brightness, measured.contrast, reasons)


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
