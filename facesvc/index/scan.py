"""The nearest of vectors that come in pieces: for what is too large to be held, and must be exact all the same."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors


def scan(
    pieces: Iterable[tuple[NDArray[np.int64], Vectors]], probes: Vectors, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Keys (m,) and vectors (m d) in pieces, probes (n d) -> the k nearest of all of them, or as many as there are:
    distances (n k) squared L2, ascending, and keys (n k)."""
    distances = np.empty((len(probes), 0), np.float32)
    keys = np.empty((len(probes), 0), np.int64)
    for piece_keys, vectors in pieces:
        own = np.stack([np.square(vectors.astype(np.float64) - probe).sum(axis=1) for probe in probes])
        distances = np.hstack([distances, own.astype(np.float32)])
        keys = np.hstack([keys, np.broadcast_to(piece_keys, own.shape)])
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(distances, nearest, axis=1)
        keys = np.take_along_axis(keys, nearest, axis=1)
    return distances, keys
