"""Boxes: rows x1 y1 x2 y2 in pixels, (n 4) float32 or float64.

A second look at a photograph with surroundings put around it.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Face, Pixels

Boxes = NDArray[np.floating]


def areas(boxes: Boxes) -> NDArray[np.floating]:
    """(n 4) -> (n,); 0 for boxes turned inside out."""
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)


def overlaps(box: Boxes, boxes: Boxes, by_smaller: bool = False) -> NDArray[np.floating]:
    """Intersection of (4,) with each of (n 4), over their union, or over the smaller of the two; 0..1."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(1)
    own, others = areas(box[None]), areas(boxes)
    whole = np.minimum(own, others) if by_smaller else own + others - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def suppress(boxes: Boxes, scores: NDArray[np.floating], limit: float, by_smaller: bool = False) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the boxes kept, by falling score.

    A box goes where it overlaps a kept one, of higher score, by more than ``limit``.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlaps(boxes[best], boxes[order], by_smaller) <= limit]
    return np.array(kept, np.intp)


def squared(boxes: Boxes, scale: float = 1.0) -> Boxes:
    """(n 4) -> (n 4): squares about the same centres, their sides ``scale`` times the longer side."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * (scale / 2)
    return np.hstack([centres - half, centres + half])


def moved(boxes: Boxes, offsets: NDArray[np.floating]) -> Boxes:
    """(n 4) moved by offsets (n 4), given in sides of each box: a network's bounding box regression."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.hstack([sides, sides])


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """Faces by falling size (ties: by falling score), without those that no later stage could use."""
    return sorted(filter(is_usable, faces), key=lambda face: (-face.size, -face.score))


def is_usable(face: Face) -> bool:
    """Every number is finite, the box has an area and the landmarks an extent."""
    if not (np.isfinite(face.box).all() and np.isfinite(face.landmarks).all()):
        return False
    return face.size > 0 and bool(np.ptp(face.landmarks, axis=0).max() > 0)


BORDER = 0.2
"""Share of the longer side. Detectors learnt faces with surroundings: one that fills the photograph is missed."""
GREY = (127, 127, 127)


def look_within_border(look: Callable[[Pixels], list[Face]], pixels: Pixels, share: float = BORDER) -> list[Face]:
    """What ``look`` finds in (h w 3) uint8 with a grey border of ``share`` of its longer side, in pixels of the array
    without border."""
    width = round(max(pixels.shape[:2]) * share)
    framed = cv2.copyMakeBorder(pixels, width, width, width, width, cv2.BORDER_CONSTANT, value=GREY)
    inward = np.float32(width)
    return [Face(face.box - inward, face.landmarks - inward, face.score) for face in look(framed)]  # type: ignore[arg-type]
