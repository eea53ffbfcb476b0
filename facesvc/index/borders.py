"""What every index asks of the arrays it is given."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import StoreError


def checked_vectors(vectors: NDArray[Any], dimension: int) -> Vectors:
    """(n d) -> the same as contiguous float32. Raises StoreError for another shape or values that are not finite:
    a NaN would compare as no distance at all, and poison every search."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise StoreError(f"index wants vectors (n {dimension}), not {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise StoreError("index wants finite vectors")
    return np.ascontiguousarray(vectors, np.float32)


def checked_keys(keys: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(n,) integers, as many as ``count``. Raises StoreError for any other number of them."""
    if keys.shape != (count,):
        raise StoreError(f"index wants a key for each vector: keys {keys.shape}, vectors ({count} d)")
    return keys
