"""Alignment: the similarity transform that lays a face's landmarks on the template of an embedder's weights."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesvc.core.types import Pixels
from facesvc.errors import SampleError

Matrix = NDArray[np.float64]
"""(2 3) affine map of x y px."""


def similarity(source: ArrayLike, target: ArrayLike) -> Matrix:
    """The rotation, scale and shift (2 3) that take points source (k 2) nearest to target (k 2), least squares.

    Umeyama 1991 ("Least-squares estimation of transformation parameters between two point patterns") without
    reflection, in its closed form over complex numbers: with both centred, z = <a, b> / <a, a>.
    Raises SampleError where a point is not finite or one of the two sets has no extent.
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        centre, goal = a.mean(0), b.mean(0)
        from_centre, from_goal = (a - centre) @ [1, 1j], (b - goal) @ [1, 1j]
        z = np.vdot(from_centre, from_goal) / np.vdot(from_centre, from_centre).real
        turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
        matrix = np.column_stack([turn, goal - turn @ centre])
    if not np.isfinite(matrix).all() or not abs(z) > 0:
        raise SampleError("the face's landmarks coincide or are not finite: it can't be aligned")
    return matrix


def align(pixels: Pixels, landmarks: ArrayLike, template: ArrayLike, size: int) -> Pixels:
    """(h w 3) uint8, landmarks (5 2) px, template (5 2) px of the chip -> chip (size size 3) uint8, the same colours.

    Black where the chip reaches beyond the image. Raises SampleError for landmarks that coincide or are not finite.
    """
    return warp(pixels, invert(similarity(landmarks, template)), size)


def invert(matrix: Matrix) -> Matrix:
    """The opposite of a similarity (2 3). Raises SampleError where it has none in double precision."""
    square = np.vstack([matrix, [0, 0, 1]])
    with np.errstate(all="ignore"):
        turn = square[:2, :2].T / np.square(square[:2, 0]).sum()
        inverse = np.column_stack([turn, -turn @ square[:2, 2]])
    if not np.isfinite(inverse).all():
        raise SampleError("the face's landmarks are too far apart or too close: it can't be aligned")
    return inverse


def warp(pixels: Pixels, to_image: Matrix, size: int) -> Pixels:
    """The chip (size size 3) whose pixel x y is the image's at ``to_image`` (2 3, a similarity), black outside.

    The part of the image that matters is halved (2x2 means) while two of its pixels or more fall on one of the chip;
    then one bilinear interpolation, which takes its four neighbours only, doesn't skip any.
    """
    part, matrix = _part_under(pixels, to_image, size)
    while part.size and _scale(matrix) > 2 and max(part.shape[:2]) > 1:
        part = _halve(part)
        matrix = np.column_stack([matrix[:, :2] / 2, (matrix[:, 2] - 0.5) / 2])  # pixel centres: x' = (x - 1/2) / 2
    if not part.size or _scale(matrix) > 2:  # beside the image, or the whole image is smaller than a pixel
        return np.zeros((size, size, 3), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[return-value]


def _scale(matrix: Matrix) -> float:
    return float(np.hypot(*matrix[:, 0]))


def _part_under(pixels: Pixels, to_image: Matrix, size: int) -> tuple[Pixels, Matrix]:
    """The image under the chip with a margin for interpolation, and the map onto it; empty where they don't meet."""
    height, width = pixels.shape[:2]
    corners = to_image @ np.array([[-1, size, -1, size], [-1, -1, size, size], [1, 1, 1, 1]], np.float64)
    margin = 2 * _scale(to_image) + 2
    left, top = np.clip(np.floor(corners.min(1) - margin), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(1) + margin), 0, (width, height)).astype(int)
    return pixels[top:bottom, left:right], to_image - [[0, 0, left], [0, 0, top]]


def _halve(pixels: Pixels) -> Pixels:
    """(h w 3) -> ((h + 1) // 2, (w + 1) // 2, 3): means of 2x2 pixels; an odd side is filled up with black."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)  # type: ignore[assignment]
    half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
    return cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
