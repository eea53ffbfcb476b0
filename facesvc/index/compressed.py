"""One byte a dimension: FaceNet's 128 bytes a face, scanned whole; its shortlist certainly holds the nearest."""

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Vectors
from facesvc.errors import StoreError
from facesvc.index.flat import DenseIndex, Shortlist
from facesvc.index.snapshot import Frame

Floats = NDArray[np.float32]

STEP = 1 / 200
"""Between two neighbouring values, of vectors of unit length: components up to 0.635 fit, larger ones are cut. Fixed,
so that nothing depends on what came first. Of 8,157 photographs' templates, in packs fusion, sface and dlib, the
largest component was 0.457; the root of the squared sum of a template's rounding errors is about 0.0163."""
LARGEST = 127
"""Codes are whole numbers of steps from -127 to 127; FAISS's bytes are these plus 127."""
FIRST_LOOK = 256
"""Rows asked for at first; a scan costs the same for 1 and for 2,000."""
FLOAT_SLACK = 1e-5
"""Relative, for FAISS's sums of float32."""


class CompressedIndex(DenseIndex):
    """core.ports.TemplateIndex over FAISS's 8-bit scalar quantiser, for vectors of length ``norm``.

    With x a vector and y its code, |x - y| <= e, and so | |q - x| - |q - y| | <= e for every probe q. The k nearest are
    then within d + e, where d is the distance of the k-th nearest code, and their codes within d + 2 e: search returns
    every row up to there. e is that of the worst vector ever added, measured, so the shortlist is certain for any
    vectors; those far from length ``norm`` only make it long.
    """

    def __init__(self, dimension: int = DIMENSION, norm: float = 1.0) -> None:
        import faiss

        # Not QT_8bit_direct_signed, which truncates probes to whole numbers, too: distances were off by five steps.
        index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit_uniform)
        index.train(np.array([[-LARGEST - 0.5], [LARGEST + 0.5]], np.float32).repeat(dimension, axis=1))
        super().__init__(index, dimension)
        self.norm = norm
        self.step = np.float32(norm * STEP)
        self.kind = "compressed"
        self.error = 0.0  # e: the largest distance of a vector from its code

    def frame(self) -> Frame:
        return Frame(
            self.kind, int(self._index.code_size), {"norm": np.array([self.norm]), "error": np.array([self.error])}
        )

    def adopt(self, frame: Frame) -> None:
        super().adopt(frame)
        if frame.arrays["norm"].tolist() != [self.norm]:
            raise StoreError("stored codes are of vectors of another length")
        self.error = float(frame.arrays["error"][0])

    def _append(self, vectors: Vectors) -> None:
        codes = np.clip(np.rint(vectors / self.step), -LARGEST, LARGEST)
        errors = np.linalg.norm(vectors.astype(np.float64) - codes.astype(np.float64) * float(self.step), axis=1)
        self.error = max(self.error, float(errors.max(initial=0)))
        self._store(codes)

    def _store(self, codes: Vectors) -> None:
        """codes: (n d) float32, whole numbers -127..127."""
        self._index.add(codes)

    def _nearest(self, probes: Vectors, k: int) -> Shortlist:
        scaled = probes / self.step
        count = len(self)
        look = min(max(FIRST_LOOK, 4 * k), count)
        while True:
            distances, rows = self._index.search(scaled, look)
            reach = self._reach(distances[:, k - 1])
            if look == count or (distances[:, -1] > reach).all():
                return self._cut_off(distances, rows, reach)
            look = min(8 * look, count)

    def _reach(self, kth: Floats, errors: float = 2.0) -> Floats:
        """Squared distance of the k-th nearest code -> that up to which codes of the k nearest vectors may lie, were
        they ``errors`` times e further away; all in steps, (n,)."""
        furthest = np.sqrt(kth) + np.float32(errors * self.error / self.step)
        return np.square(furthest) * np.float32(1 + FLOAT_SLACK) + np.float32(FLOAT_SLACK)

    def _cut_off(self, distances: Floats, rows: NDArray[np.int64], reach: Floats) -> Shortlist:
        """What lies within reach; shorter shortlists are filled up with row -1 at distance inf."""
        beyond = distances > reach[:, None]
        widest = int((~beyond).sum(axis=1).max())
        distances = np.where(beyond, np.inf, distances * np.square(self.step))[:, :widest]
        return distances.astype(np.float32), np.where(beyond, -1, rows)[:, :widest]
