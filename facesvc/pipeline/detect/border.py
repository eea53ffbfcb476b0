"""A second look at a photograph with surroundings put around it."""

from collections.abc import Callable

import cv2
import numpy as np

from facesvc.core.types import Face, Pixels

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
