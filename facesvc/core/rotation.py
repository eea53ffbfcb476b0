"""Templates that can be given out anew: a secret turn of the space they lie in.

Distances between vectors that were turned alike are the same, so searches find the same. Vectors that were turned
differently, of two galleries or of two issues of one, don't link. It does not hide vectors from whoever has some of
them before and after: 128 such pairs tell the turn.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Vectors

CHUNK = 4096
"""Vectors turned at a time: 4 MB of float64."""


def rotation(seed: bytes, issue: int) -> NDArray[np.float64]:
    """(128 128) orthogonal, uniform by Haar's measure: the Q of normal numbers' QR decomposition, whose signs are those
    that make R's diagonal positive (Stewart 1980; Mezzadri 2007, "How to generate random matrices from the classical
    compact groups"). seed: 32 secret bytes; the numbers are SHAKE-256's, the same in every release of NumPy."""
    q, r = np.linalg.qr(_normal(seed + issue.to_bytes(8, "big"), DIMENSION**2).reshape(DIMENSION, DIMENSION))
    return q * np.sign(np.diag(r))


def turned(vectors: Vectors, turn: NDArray[np.float64]) -> Vectors:
    """(n 128) float32, each turned; computed in float64, so that distances are the same within 1e-6."""
    out = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), CHUNK):
        out[start : start + CHUNK] = vectors[start : start + CHUNK].astype(np.float64) @ turn.T
    return out


def _normal(seed: bytes, count: int) -> NDArray[np.float64]:
    """(count,) independent standard normal numbers (Box & Muller 1958)."""
    bits = np.frombuffer(hashlib.shake_256(seed).digest(16 * count), ">u8").reshape(2, count)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1])
