"""An index over one of FAISS's flat code arrays, whose rows stay dense: additions and removals cost O(log n) each."""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import StoreError
from facesvc.index.borders import checked_keys, checked_vectors
from facesvc.index.frame import Codes, Frame
from facesvc.index.rows import GONE, KeyRows
from facesvc.threads import SharedLock

Shortlist = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Distances (n m), and the rows (n m) they are of; -1 at distance inf where a probe has fewer than m."""
CHUNK = 2**16
"""Vectors encoded at a time."""


class DenseIndex:
    """core.ports.TemplateIndex over a faiss.IndexFlatCodes. A removed row is overwritten by the last, where FAISS's own
    remove_ids moves everything behind it. Searches run side by side, one thread each.

    Kinds differ in how they store vectors (``_append``) and look for neighbours (``_nearest``).
    """

    kind: str

    def __init__(self, index: Any, dimension: int) -> None:
        import faiss  # loads its BLAS: kept out of import time

        self.dimension = dimension
        self._faiss = faiss
        self._index = index
        self._rows = KeyRows()
        self._lock = SharedLock()
        self._writing = Lock()  # held by a writer for longer than it keeps readers out

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that codes and keys take."""
        return len(self._rows) * int(self._index.code_size) + self._rows.nbytes

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Raises StoreError for vectors that are not (n d) and finite."""
        vectors = checked_vectors(vectors, self.dimension)
        keys = checked_keys(keys, len(vectors))
        last = last_of_each(keys)
        if last is not None:
            keys, vectors = keys[last], vectors[last]
        with self._writing:
            self._faiss.omp_set_num_threads(1)  # of this thread; several wait for each other where cores are busy
            with self._lock.alone():
                self._remove(keys[self._rows.find(keys) != GONE].tolist())
                for start in range(0, len(vectors), CHUNK):
                    self._append(vectors[start : start + CHUNK])
                self._rows.append(keys)
            self._tend()

    def remove(self, keys: NDArray[np.int64]) -> None:
        with self._writing, self._lock.alone():
            self._remove(keys.tolist())

    def search(self, probes: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Raises StoreError for probes that are not (n d) and finite. The order of equal distances is open."""
        probes = checked_vectors(probes, self.dimension)
        with self._lock.shared():
            k = min(k, len(self._rows))
            if k < 1 or not len(probes):
                return np.empty((len(probes), max(k, 0)), np.float32), np.empty((len(probes), max(k, 0)), np.int64)
            self._faiss.omp_set_num_threads(1)  # of this thread: the service parallelises by requests
            distances, rows = self._nearest(probes, k)
            return distances, np.where(rows < 0, -1, self._rows.keys[rows])

    # --- what snapshots are made of ------------------------------------------------------------------

    def keys(self) -> NDArray[np.int64]:
        """(n,), in any order, copied."""
        with self._lock.shared():
            return self._rows.keys.copy()

    def codes(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], Codes]:
        """(n,) -> those of them that are there (m,), and how their vectors are stored (m code_size), copied."""
        with self._lock.shared():
            rows = self._rows.find(keys)
            there = rows != GONE
            return keys[there], self._codes()[rows[there]]

    def frame(self) -> Frame:
        """What the codes mean."""
        return Frame(self.kind, int(self._index.code_size))

    def adopt(self, frame: Frame) -> None:
        """Of an empty index: takes codes of this frame from now on. Raises StoreError where it can't."""
        if len(self) or frame.code_size != self._index.code_size:
            raise StoreError(f"an index of kind {self.kind} can't take codes of kind {frame.kind}")

    def restore(self, keys: NDArray[np.int64], codes: Codes) -> None:
        """Adds what ``codes`` gave of an index of the same frame: keys (n,), none of which is there; codes
        (n code_size). Raises StoreError."""
        keys, codes = checked_keys(keys, len(codes)), np.ascontiguousarray(codes, np.uint8)
        if codes.shape[1:] != (self._index.code_size,) or last_of_each(keys) is not None:
            raise StoreError("stored codes are damaged")
        with self._writing, self._lock.alone():
            if (self._rows.find(keys) != GONE).any():
                raise StoreError("stored codes are damaged: a reference is there twice")
            self._append_codes(codes)
            self._rows.append(keys)

    # --- what the kinds say ------------------------------------------------------------------------

    def _append(self, vectors: Vectors) -> None:
        """Stores (n d) behind the last row."""
        self._index.add(vectors)

    def _append_codes(self, codes: Codes) -> None:
        """Stores (n code_size) behind the last row, as they are."""
        self._index.add_sa_codes(codes)

    def _nearest(self, probes: Vectors, k: int) -> Shortlist:
        """For each of (n d) the rows that hold its k nearest, 0 < k <= len."""
        return self._index.search(probes, k)

    def _move(self, source: int, target: int) -> None:
        codes = self._codes()
        codes[target] = codes[source]

    def _cut(self, count: int) -> None:
        """Forgets all rows from ``count`` on."""
        self._index.ntotal = count
        self._index.codes.resize(count * self._index.code_size)

    def _tend(self) -> None:
        """Called after additions, while readers come and go and other writers wait."""

    # --- parts -------------------------------------------------------------------------------------

    def _remove(self, keys: list[int]) -> None:
        """Moves the last row into each gap, then cuts the end off once."""
        for key in keys:
            moved = self._rows.remove(key)
            if moved is not None and moved[0] != moved[1]:
                self._move(source=moved[1], target=moved[0])
        if len(self._rows) < self._index.ntotal:
            self._cut(len(self._rows))

    def _codes(self) -> NDArray[np.uint8]:
        """FAISS's own array (n bytes), until the next addition or cut."""
        count, size = int(self._index.ntotal), int(self._index.code_size)
        if not count:
            return np.empty((0, size), np.uint8)
        return self._faiss.rev_swig_ptr(self._index.codes.data(), count * size).reshape(count, size)


def last_of_each(keys: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Where each key is for the last time, in ascending order; None where every key is there once."""
    if (np.diff(keys) > 0).all():
        return None
    first = np.unique(keys[::-1], return_index=True)[1]
    return None if len(first) == len(keys) else np.sort(len(keys) - 1 - first)
