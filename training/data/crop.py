"""Where a face lies in a training chip: the ArcFace crop, with a border of context around it for crop jitter."""

import numpy as np
from numpy.typing import NDArray

from facesvc.errors import RequestError

ARCFACE_SIDE = 112
ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""x y px of the five landmarks in a chip of 112 px, the centre of the first pixel at (0, 0): ``arcface_dst`` of
InsightFace's face_align.py (Deng et al. 2019)."""


def border(size: int, margin: float) -> int:
    """Whole pixels of context on each side of a chip of ``size`` px, of whose side ``margin`` (0..1) is context.

    Whole, so that cutting the context off again moves nothing. Raises RequestError where no crop would be left.
    """
    pixels = round(size * margin / 2)
    if not (0 <= margin < 1 and size - 2 * pixels >= 16):
        raise RequestError(f"a margin of {margin:g} leaves no crop in a chip of {size} px")
    return pixels


def landmarks(size: int, margin: float) -> NDArray[np.float64]:
    """(5 2) x y px: where the landmarks belong in a chip of ``size`` px whose middle, within ``border``, is the crop.

    Scaled about the chip's corner, which lies half a pixel before the first pixel's centre.
    """
    edge = border(size, margin)
    return (np.array(ARCFACE) + 0.5) * (size - 2 * edge) / ARCFACE_SIDE + edge - 0.5
