"""For millions of faces: half a byte for two dimensions says which rows of the compressed index are worth a look."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Vectors
from facesvc.index.compressed import LARGEST, CompressedIndex, Floats
from facesvc.index.dense import CHUNK, Shortlist
from facesvc.index.frame import Codes, Frame
from facesvc.index.sketches import TRAINED_ON, Sketches

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
