"""Small codes beside an index's rows, to find out quickly which rows are worth a closer look."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import StoreError

PART = 2
"""Dimensions in half a byte: 32 bytes a face. A quarter byte a dimension (PART 4) is scanned in a third of the time,
but its estimates are twice as rough, so that far more rows have to be looked at closely."""
CENTROIDS = 16
"""Values of a part of PART dimensions, so as many numbers a dimension."""
TRAINED_ON = 2**14
"""Rows that the values of each part are learnt from (k-means, FAISS's default 25 rounds)."""
MEASURED_ON = 2**13
"""Rows whose estimates are measured."""
LATE = 1 / 4096
"""Share of rows that may be estimated beyond ``reach``: 2 of the 8,192 measured, so with 95 % confidence less than
0.0008 of all (Poisson: 6.3 of 8,192), where a recall of 0.999 allows 0.001."""
DISTANCES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Squared L2, of unit vectors, at which they are measured."""
GROUP = 256
TINY = 1e-12
"""In place of a length of zero: such vectors are no templates, but must not stop the others."""


class Sketches:
    """A product quantiser of 4-bit codes (FAISS's fast scan: André, Kermarrec & Le Scouarnec 2015, "Cache locality is
    not enough") over the same rows as an index; ``reach`` says how far its estimates stray, as measured.

    Works in the unit of the vectors it is given, whose length is ``norm``.
    """

    def __init__(self, sample: Vectors, norm: float) -> None:
        """sample: (n d) float32, n >= 16, a fair one; d must be even."""
        self._open(sample.shape[1], norm)
        self._index.train(sample[:TRAINED_ON])
        self._scratch: Any = self._faiss.clone_index(self._index)  # trained alike, empty
        self.measure(sample)

    @classmethod
    def relearnt(cls, learnt: Mapping[str, NDArray[np.float64]], norm: float) -> "Sketches":
        """Empty ones that give the codes and the reach of those whose ``learnt`` this is. Raises StoreError."""
        sketches = cls.__new__(cls)
        centroids = learnt["centroids"].astype(np.float32)
        sketches._open(len(centroids) // CENTROIDS, norm)
        if len(centroids) != sketches._index.pq.centroids.size():
            raise StoreError("stored sketches are damaged")
        sketches._faiss.copy_array_to_vector(centroids, sketches._index.pq.centroids)
        sketches._index.is_trained = True
        sketches._scratch = sketches._faiss.clone_index(sketches._index)
        sketches._late = learnt["distances"], learnt["late"]
        return sketches

    def _open(self, dimension: int, norm: float) -> None:
        import faiss

        self._faiss = faiss
        self.norm = norm
        self._index: Any = faiss.IndexPQFastScan(dimension, dimension // PART, 4)
        self._packer = self._index.get_CodePacker()

    def learnt(self) -> dict[str, NDArray[np.float64]]:
        """All that was learnt of rows, not the rows: every float32 as it is."""
        distances, late = self._late
        centroids = self._faiss.vector_to_array(self._index.pq.centroids).astype(np.float64)
        return {
            "centroids": centroids,
            "distances": np.asarray(distances, np.float64),
            "late": np.asarray(late, np.float64),
        }

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def nbytes(self) -> int:
        return int(self._index.codes.size())

    def measure(self, sample: Vectors) -> None:
        """Learns how far estimates stray, from probes that lie around rows of ``sample`` (n d), which is in random
        order, in the directions of others. Searches may go on meanwhile."""
        rows = sample[:MEASURED_ON]
        others = np.roll(rows, 1, axis=0)
        squared = np.array(DISTANCES) * self.norm**2
        late = [np.quantile(self._estimates(rows, around(rows, others, d)), 1 - LATE, method="higher") for d in squared]
        self._late = squared, np.maximum.accumulate(late)

    def add(self, vectors: Vectors) -> None:
        self._index.add(vectors)

    def move(self, source: int, target: int) -> None:
        self._put(self._packer.unpack_1(*self._place(source)), target)

    def cut(self, count: int) -> None:
        """Forgets all rows from ``count`` on. Their codes become zeros: FAISS ors new ones into them."""
        nothing = np.zeros(self._packer.code_size, np.uint8)
        for row in range(count, len(self)):
            self._put(nothing, row)
        self._index.ntotal = count

    def search(self, probe: Vectors, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(d,) -> the ``count`` rows with the lowest estimates: squared distances (count,) ascending, rows (count,)."""
        estimates, rows = self._index.search(probe[None], count)
        return estimates[0], rows[0]

    def reach(self, distance: float) -> float:
        """The estimate that no more than LATE of the rows at squared ``distance`` or less exceed; inf where that is
        beyond what was measured."""
        return float(np.interp(distance, *self._late, right=np.inf))

    def _estimates(self, rows: Vectors, probes: Vectors) -> NDArray[np.float32]:
        """(n d), (n d) -> (n,): the estimate that each probe gets of its own row."""
        index, found = self._scratch, []
        for start in range(0, len(rows), GROUP):
            group = slice(start, start + GROUP)
            index.reset()
            index.add(rows[group])
            estimates, which = index.search(probes[group], len(rows[group]))
            found.append(estimates[which == np.arange(len(which))[:, None]])
        return np.concatenate(found)

    def _put(self, code: NDArray[np.uint8], row: int) -> None:
        block, offset = self._place(row)
        self._packer.pack_1(code, offset, block)

    def _place(self, row: int) -> tuple[NDArray[np.uint8], int]:
        """The block (1 bytes) that a row lies in, FAISS's own array until the next addition; and where in it."""
        size, rows = int(self._packer.block_size), int(self._packer.nvec)
        codes = self._faiss.rev_swig_ptr(self._index.codes.get(), self._index.codes.size()).reshape(-1, size)
        return codes[row // rows : row // rows + 1], row % rows


def around(rows: Vectors, others: Vectors, distance: float) -> Vectors:
    """(n d), (n d) of one length -> (n d): each row turned towards its other until their squared L2 is ``distance``."""
    length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY)
    a = rows / length
    aside = others - (others * a).sum(axis=1, keepdims=True) * a
    aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), TINY)
    cosine = np.maximum(1 - distance / (2 * length**2), -1)
    return (length * (cosine * a + np.sqrt(1 - cosine**2) * aside)).astype(np.float32)
