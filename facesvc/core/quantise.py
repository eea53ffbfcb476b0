"""Templates in 128 bytes: one signed byte a component.

FaceNet (Schroff et al. 2015, section 5.3) states that its 128-d vectors "can be quantized to 128-bytes without loss of
accuracy". Here the step is one for all components and all vectors, so bytes of one pack can be compared as they are:
the squared L2 of two byte vectors is that of the templates divided by STEP^2.
"""

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors

Bytes = NDArray[np.int8]
"""(n d) int8, -127..127."""

STEP = 1 / 256
"""Between two neighbouring values. Components from -127/256 to 127/256 fit; what is larger is cut to the largest value.
Those of a unit vector in 128 dimensions are about 1/sqrt(128) = 0.09 large."""
LARGEST = 127


def to_bytes(vectors: Vectors) -> Bytes:
    """(n d) float32 of unit length -> (n d) int8: each component over STEP, rounded to even, cut to -127..127.

    Raises ValueError for vectors that are not of unit length.
    """
    values = np.asarray(vectors, np.float64)
    if not np.allclose(np.linalg.norm(values, axis=-1), 1, rtol=0, atol=1e-3):
        raise ValueError("only unit vectors fit the step; divide templates by their pack's norm")
    return np.clip(np.rint(values / STEP), -LARGEST, LARGEST).astype(np.int8)


def from_bytes(quantised: Bytes) -> Vectors:
    """(n d) int8 -> (n d) float32, of nearly unit length.

    Where nothing was cut each component is within STEP / 2 of what it was, so the root of a distance of two vectors
    changes by at most STEP sqrt(d): 0.044 in 128 dimensions. Rounding errors of many components nearly cancel: the
    usual change is a tenth of that.
    """
    return quantised.astype(np.float32) * np.float32(STEP)
