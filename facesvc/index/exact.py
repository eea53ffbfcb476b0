"""The oracle: plain NumPy on core.compare. Slow, obviously right; every other index is tested against it."""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from facesvc.core.compare import squared_l2
from facesvc.core.types import DIMENSION, Vectors
from facesvc.index.flat import checked_keys, checked_vectors


class ExactIndex:
    """core.ports.TemplateIndex as a dictionary of vectors. Equal distances come by ascending key."""

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.dimension = dimension
        self._vectors: dict[int, Vectors] = {}
        self._lock = Lock()

    kind = "exact"

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors; Python's own for each of them come on top."""
        return len(self._vectors) * 4 * self.dimension

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Raises StoreError for vectors that are not (n d) and finite."""
        vectors = checked_vectors(vectors, self.dimension)
        with self._lock:
            self._vectors.update(zip(checked_keys(keys, len(vectors)).tolist(), vectors.copy(), strict=True))

    def remove(self, keys: NDArray[np.int64]) -> None:
        with self._lock:
            for key in keys.tolist():
                self._vectors.pop(key, None)

    def search(self, probes: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Raises StoreError for probes that are not (n d) and finite."""
        probes = checked_vectors(probes, self.dimension)
        with self._lock:
            keys = np.array(sorted(self._vectors), np.int64)
            vectors = np.array([self._vectors[key] for key in keys.tolist()], np.float32).reshape(-1, self.dimension)
        distances = squared_l2(probes, vectors)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : max(k, 0)]
        return np.take_along_axis(distances, nearest, axis=1).astype(np.float32), keys[nearest]
