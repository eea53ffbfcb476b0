"""An image in falling sizes, and crops of it taken from the size that fits."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Pixels
from facesvc.pipeline.detect.boxes import Boxes

Blob = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The image resized. pixels: (h w 3) uint8; scale: (2,) float64, level pixels per image pixel along x and y."""

    pixels: Pixels
    scale: NDArray[np.float64]


def normalised(images: list[Pixels]) -> Blob:
    """n images (h w 3) uint8 of one size -> (n 3 h w) float32, (value - 127.5) / 128 as MTCNN was trained."""
    return cv2.dnn.blobFromImages(images, 1 / 128, mean=(127.5, 127.5, 127.5))  # type: ignore[return-value]


def resized(source: Level, width: int, height: int) -> Level:
    """``source`` at width x height px: area means where it shrinks, linear where it grows."""
    shrinks = width < source.pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = cv2.resize(source.pixels, (width, height), interpolation=method)
    return Level(pixels, source.scale * (width, height) / source.pixels.shape[1::-1])  # type: ignore[arg-type]


def halvings(pixels: Pixels, smallest: float, largest: float) -> list[Level]:
    """The image at 1, 1/2, 1/4, ... by falling size, between the scales ``smallest`` and ``largest``
    (from the last one above ``largest`` on, and one level at least). Whole blocks average at little cost."""
    exponents = [k for k in range(32) if k == 0 or 0.5**k >= smallest]
    first = max(k for k in exponents if k == 0 or 0.5**k >= largest)
    levels = [Level(pixels, np.ones(2))]
    for exponent in range(first, exponents[-1] + 1):
        width, height = (max(side >> exponent, 1) for side in pixels.shape[1::-1])
        levels.append(resized(levels[-1], width, height))
    return levels[1:]


def crops(levels: list[Level], boxes: Boxes, side: int) -> Blob:
    """Square boxes (n 4) px of the image -> (n 3 side side) float32, normalised; black beyond the border.

    Levels come by falling size; each box is cut from the smallest that is no smaller than the crop. Never clipped:
    a clipped box would be stretched, and faces near the border would be lost (facenet-pytorch's cascade does it).
    """
    scales = np.array([level.scale.min() for level in levels])
    sides = boxes[:, 2] - boxes[:, 0]
    finest = (scales * sides[:, None] >= side).sum(1) - 1
    return normalised([_crop(levels[max(i, 0)], box, side) for i, box in zip(finest, boxes, strict=True)])


def _crop(source: Level, box: Boxes, side: int) -> Pixels:
    """One bilinear warp that cuts, resizes and pads. Pixel centres lie at x + 1/2 in box coordinates."""
    step = (box[2:] - box[:2]) * source.scale / side
    corner = box[:2] * source.scale + step / 2 - 0.5
    matrix = np.array([[step[0], 0, corner[0]], [0, step[1], corner[1]]])
    return cv2.warpAffine(source.pixels, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)  # type: ignore[return-value]
