"""For millions of faces: half a byte for two dimensions says which rows of the compressed index are worth a look.

Small codes beside an index's rows, to find out quickly which rows are worth a closer look.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Vectors
from facesvc.errors import StoreError
from facesvc.index.compressed import LARGEST, CompressedIndex, Floats
from facesvc.index.flat import CHUNK, Shortlist
from facesvc.index.snapshot import Codes, Frame

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


SMALLEST = 2**14
"""Rows from which sketches can be learnt; until then this is the compressed index."""
SHARES = (1 / 200, 1 / 25)
"""Of all rows, how many sketches are asked for in turn before everything is scanned."""
LEAST = 1024
USUAL_ERRORS = 0.5
"""How much further than the code of the k-th nearest found, in units of e, that of a nearer vector is looked for. The
two distances are wrong by the sum of 128 rounding errors of either sign along one direction, whose standard deviation
is e / sqrt(128) = 0.09 e each, so this is four of theirs. What was found is cut off with certainty, at 2 e, as ever."""
BLOCK = 1024
"""Rows looked at together: half a megabyte as float32, which stays in the core's own cache."""


class LargeIndex(CompressedIndex):
    """core.ports.TemplateIndex: the compressed index's rows, of which sketches name those that may be near.

    From the distance of the k-th nearest found follows up to which estimate a nearer row may have been put
    (``Sketches.reach``, measured on the gallery itself; at most LATE of them are put further). Where the sketches asked
    for don't go as far, more are; then everything is scanned. So every one of the k nearest is in the shortlist with a
    probability of at least 0.999 whatever the probe, a stranger's among them, and the compressed index's certainty is
    what a probe gets that lies far from everybody. Vectors must be of length ``norm`` for that.

    An inverted file was measured instead (1,000,000 templates as of real faces, 1,024 lists): a recall of 0.999 at the
    distances of one person's photographs takes more than 256 lists, a quarter of everything; and a graph (HNSW) can't
    forget, and takes 656 bytes a face.
    """

    def __init__(self, dimension: int = DIMENSION, norm: float = 1.0, smallest: int = SMALLEST) -> None:
        super().__init__(dimension, norm)
        self._smallest = max(smallest, SMALLEST)
        self._sketches: Sketches | None = None
        self._measured = 0  # rows there were when the sketches' estimates were measured

    @property
    def nbytes(self) -> int:
        return super().nbytes + (0 if self._sketches is None else self._sketches.nbytes)

    def frame(self) -> Frame:
        frame = super().frame()
        if self._sketches is None:
            return frame
        learnt = {**self._sketches.learnt(), "measured": np.array([self._measured])}
        return replace(frame, arrays={**frame.arrays, **learnt})

    def adopt(self, frame: Frame) -> None:
        super().adopt(frame)
        if "centroids" in frame.arrays:
            self._sketches = Sketches.relearnt(frame.arrays, float(self.norm / self.step))
            self._measured, self.kind = int(frame.arrays["measured"][0]), "large"

    def _append_codes(self, codes: Codes) -> None:
        super()._append_codes(codes)
        if self._sketches is not None:
            self._sketches.add(codes.astype(np.float32) - np.float32(LARGEST))

    def _store(self, codes: Vectors) -> None:
        super()._store(codes)
        if self._sketches is not None:
            self._sketches.add(codes)

    def _move(self, source: int, target: int) -> None:
        super()._move(source, target)
        if self._sketches is not None:
            self._sketches.move(source, target)

    def _cut(self, count: int) -> None:
        super()._cut(count)
        if self._sketches is not None:
            self._sketches.cut(count)

    def _tend(self) -> None:
        """Makes sketches when there are rows enough (once; half a minute for 1,000,000 on a busy core), and measures
        them again whenever the rows have doubled. Searches go on meanwhile, on the index as it was."""
        count = len(self)
        if count < max(self._smallest, 2 * self._measured):
            return
        sample = self._decoded(np.random.default_rng(0).choice(count, TRAINED_ON, replace=False))
        if self._sketches is not None:
            self._sketches.measure(sample)
        else:
            sketches = Sketches(sample, float(self.norm / self.step))
            for start in range(0, count, CHUNK):
                sketches.add(self._decoded(slice(start, start + CHUNK)))
            with self._lock.alone():
                self._sketches, self.kind = sketches, "large"
        self._measured = count

    def _nearest(self, probes: Vectors, k: int) -> Shortlist:
        sketches = self._sketches
        if sketches is None:
            return super()._nearest(probes, k)
        scan = super()._nearest
        return _stacked([self._sketched(sketches, q / self.step, k) or scan(q[None], k) for q in probes])

    def _sketched(self, sketches: Sketches, probe: Vectors, k: int) -> Shortlist | None:
        """The shortlist of one probe (d,) in steps; None where the sketches don't say enough."""
        for share in SHARES:
            look = max(LEAST, 4 * k, int(share * len(self)))
            if look > len(self) // 2:
                return None
            estimates, rows = sketches.search(probe, look)
            first = self._distances(probe, rows[: 4 * k])
            kth = np.partition(first, k - 1)[k - 1 : k]
            reach = sketches.reach(float(self._reach(kth, USUAL_ERRORS)[0]))
            if estimates[-1] > reach:
                within = int(np.searchsorted(estimates, reach, side="right"))
                return self._refined(probe, rows[: max(within, 4 * k)], k)  # not less than was seen
        return None

    def _refined(self, probe: Vectors, rows: NDArray[np.int64], k: int) -> Shortlist:
        """Those of rows that may be among the k nearest, sorted by the distance of their codes."""
        distances = self._distances(probe, rows)
        order = np.argsort(distances)
        distances, rows = distances[order][None], rows[order][None]
        return self._cut_off(distances, rows, self._reach(distances[:, k - 1]))

    def _distances(self, probe: Vectors, rows: NDArray[np.int64]) -> Floats:
        """Squared distances of the codes of rows (n,), in steps."""
        found = np.empty(len(rows), np.float32)
        codes, shifted = self._codes(), probe + np.float32(LARGEST)
        for start in range(0, len(rows), BLOCK):
            block = codes.take(rows[start : start + BLOCK], axis=0) - shifted
            found[start : start + BLOCK] = np.einsum("ij,ij->i", block, block)
        return found

    def _decoded(self, rows: NDArray[np.int64] | slice) -> Vectors:
        """(n d) float32 in steps."""
        return self._codes()[rows].astype(np.float32) - np.float32(LARGEST)


def _stacked(shortlists: list[Shortlist]) -> Shortlist:
    """One row each, to the length of the longest."""
    widest = max(rows.shape[1] for _, rows in shortlists)
    distances = np.full((len(shortlists), widest), np.inf, np.float32)
    rows = np.full((len(shortlists), widest), -1, np.int64)
    for i, (own_distances, own_rows) in enumerate(shortlists):
        distances[i, : own_rows.shape[1]], rows[i, : own_rows.shape[1]] = own_distances[0], own_rows[0]
    return distances, rows
