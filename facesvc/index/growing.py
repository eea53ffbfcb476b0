"""Which index a gallery gets: by its size, or as configured."""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import TemplateIndex
from facesvc.core.types import DIMENSION, Vectors
from facesvc.index.compressed import CompressedIndex
from facesvc.index.exact import ExactIndex
from facesvc.index.flat import FlatIndex
from facesvc.index.large import LargeIndex
from facesvc.index.snapshot import Codes, Frame, Storable

StoredKind = Literal["auto", "flat", "compressed", "large"]
Kind = StoredKind | Literal["exact"]

FLAT_UNTIL = 100_000
"""References that lie in memory as they are: 53 MB, searched in 5 ms (compressed: 2.4 ms, but each of its shortlists
has the database read about a hundred references in place of twenty)."""
COMPRESSED_UNTIL = 250_000
"""References that are scanned whole, in 6 ms; beyond, sketches find the nearest sooner: 17 ms for 1,000,000, of which a
scan takes 60 (benchmarks.search, on a busy core)."""


class GrowingIndex:
    """core.ports.TemplateIndex of the kind that suits its size: flat, compressed, then large.

    It moves up within the addition that outgrows a kind; searches use the index as it was until then. It never moves
    down, so that a gallery around a border doesn't move to and fro; one that shrank gets its kind when it is next
    loaded.
    """

    def __init__(
        self,
        dimension: int = DIMENSION,
        norm: float = 1.0,
        flat_until: int = FLAT_UNTIL,
        compressed_until: int = COMPRESSED_UNTIL,
    ) -> None:
        self._dimension, self._flat_until = dimension, flat_until
        self._larger = lambda: LargeIndex(dimension, norm, smallest=compressed_until + 1)
        self._index: FlatIndex | LargeIndex = FlatIndex(dimension)
        self._writing = Lock()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def kind(self) -> str:
        return self._index.kind

    @property
    def nbytes(self) -> int:
        return self._index.nbytes

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Raises StoreError for vectors that are not (n d) and finite."""
        with self._writing:
            if isinstance(self._index, FlatIndex) and len(self._index) + len(keys) > self._flat_until:
                larger = self._larger()
                larger.add(*self._index.entries())
                larger.add(keys, vectors)
                self._index = larger
            else:
                self._index.add(keys, vectors)

    def remove(self, keys: NDArray[np.int64]) -> None:
        with self._writing:
            self._index.remove(keys)

    def search(self, probes: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Raises StoreError for probes that are not (n d) and finite."""
        return self._index.search(probes, k)

    # --- what snapshots are made of ------------------------------------------------------------------

    def keys(self) -> NDArray[np.int64]:
        return self._index.keys()

    def codes(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], Codes]:
        return self._index.codes(keys)

    def frame(self) -> Frame:
        return self._index.frame()

    def adopt(self, frame: Frame) -> None:
        """Raises StoreError."""
        with self._writing:
            index = FlatIndex(self._dimension) if frame.kind == FlatIndex.kind else self._larger()
            index.adopt(frame)
            self._index = index

    def restore(self, keys: NDArray[np.int64], codes: Codes) -> None:
        """Raises StoreError."""
        with self._writing:
            self._index.restore(keys, codes)


def storable(kind: StoredKind, norm: float) -> Storable:
    """An empty index of that kind for templates of length ``norm``."""
    makers: Mapping[StoredKind, Callable[[], Storable]] = {
        "auto": lambda: GrowingIndex(norm=norm),
        "flat": FlatIndex,
        "compressed": lambda: CompressedIndex(norm=norm),
        "large": lambda: LargeIndex(norm=norm),
    }
    return makers[kind]()


def opener(kind: Kind, norm: float) -> Callable[[], TemplateIndex]:
    """What makes an empty index of that kind for templates of length ``norm``."""
    return ExactIndex if kind == "exact" else lambda: storable(kind, norm)
