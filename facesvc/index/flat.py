"""Indexes over one of FAISS's flat code arrays, whose rows stay dense: additions and removals cost O(log n) each.

Which key lies in which row of a dense array, in 20 bytes a key where a dictionary takes over 100.

Exact nearest neighbours by FAISS's flat index: AVX2 scans of one array, 4.6 ms for 100,000 references.
"""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Vectors
from facesvc.errors import StoreError
from facesvc.index.snapshot import Codes, Frame
from facesvc.threads import SharedLock


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


GONE = -1
"""Row of a key that is not there, or was removed since the keys were sorted."""
RECENT = 4096
"""Keys that may be kept unsorted in a small gallery; in a large one it is an eighth of all."""


class KeyRows:
    """Keys of rows 0..n-1, and the row of each key. A removed row is taken by the last one, so rows stay dense.

    The keys are kept sorted for binary search; those that came since lie in a dictionary until they are an eighth of
    all. So adding and removing cost O(log n) a key, however many there are, sorting included. Not thread-safe.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, np.int64)  # key of each row; as long as ever needed, the first len(self) count
        self._count = 0
        self._sorted = np.empty(0, np.int64)
        self._rows = np.empty(0, np.int32)  # of the sorted keys
        self._recent: dict[int, int] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> NDArray[np.int64]:
        """(n,) in the order of the rows; a view that changes with the next write."""
        return self._keys[: self._count]

    @property
    def nbytes(self) -> int:
        """Bytes in memory; a dictionary's entry counts 104: its slot and two numbers."""
        return self._keys.nbytes + self._sorted.nbytes + self._rows.nbytes + 104 * len(self._recent)

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) -> the row of each (n,); GONE for those that have none."""
        if len(self._sorted):
            at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
            rows = np.where(self._sorted[at] == keys, self._rows[at], GONE).astype(np.int64)
        else:
            rows = np.full(len(keys), GONE, np.int64)
        if self._recent:
            recent = np.fromiter((self._recent.get(key, GONE) for key in keys.tolist()), np.int64, len(keys))
            rows = np.where(recent == GONE, rows, recent)
        return rows

    def append(self, keys: NDArray[np.int64]) -> None:
        """Gives keys (n,), none of which is known, the next n rows."""
        start, end = self._count, self._count + len(keys)
        if end > len(self._keys):
            self._keys = np.concatenate([self.keys, np.empty(max(len(keys), start // 4), np.int64)])
        self._keys[start:end], self._count = keys, end
        if len(self._recent) + len(keys) > max(RECENT, end // 8):
            self._sort()
        else:
            self._recent.update(zip(keys.tolist(), range(start, end), strict=True))

    def remove(self, key: int) -> tuple[int, int] | None:
        """Forgets a key; None if it is not known. Else (row, last): the key of row ``last`` lies in ``row`` now."""
        row = self._row(key)
        if row is None:
            return None
        self._place(key, GONE)
        last = self._count = self._count - 1
        if row != last:
            moved = int(self._keys[last])
            self._keys[row] = moved
            self._place(moved, row)
        return row, last

    def _row(self, key: int) -> int | None:
        row = self._recent.get(key)
        if row is not None:
            return row
        at = int(np.searchsorted(self._sorted, key))
        if at < len(self._sorted) and self._sorted[at] == key and self._rows[at] != GONE:
            return int(self._rows[at])
        return None

    def _place(self, key: int, row: int) -> None:
        """Notes the row of a known key."""
        if key not in self._recent:
            self._rows[np.searchsorted(self._sorted, key)] = row
        elif row == GONE:
            del self._recent[key]
        else:
            self._recent[key] = row

    def _sort(self) -> None:
        order = np.argsort(self.keys, kind="stable")  # nearly sorted as a rule: keys are numbered as they come
        self._sorted, self._rows = self.keys[order], order.astype(np.int32)
        self._recent = {}


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


BLAS_THRESHOLD = 2048
"""Probes times dimensions from which FAISS multiplies matrices: 16 probes of 128. Its default in 1.15, 128000,
leaves batches of 32 at 2.3 times the time. Products round: then distances are within 1e-5, not exact."""


class FlatIndex(DenseIndex):
    """core.ports.TemplateIndex over IndexFlatL2: every vector as it is, 4 bytes a dimension."""

    kind = "flat"

    def __init__(self, dimension: int = DIMENSION) -> None:
        import faiss

        faiss.cvar.distance_compute_blas_threshold = BLAS_THRESHOLD
        super().__init__(faiss.IndexFlatL2(dimension), dimension)

    def entries(self) -> tuple[NDArray[np.int64], Vectors]:
        """Keys (n,) and vectors (n d) float32, copied."""
        with self._lock.shared():
            return self._rows.keys.copy(), self._codes().view(np.float32).copy()
