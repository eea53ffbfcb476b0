"""Which key lies in which row of a dense array, in 20 bytes a key where a dictionary takes over 100."""

import numpy as np
from numpy.typing import NDArray

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
