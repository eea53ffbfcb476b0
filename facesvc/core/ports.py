"""What has several implementations: implemented at the edges, wired in ``facesvc.bootstrap``."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.core.decide import Calibration
from facesvc.core.types import (
    AlignedFace,
    Capture,
    Face,
    FaceChoice,
    Pixels,
    Vectors,
)


class Detector(Protocol):
    """Finds faces with five landmarks."""

    name: str

    def detect(self, pixels: Pixels) -> list[Face]:
        """(h w 3) uint8 RGB -> all faces, largest first, in pixels of the array; [] when there are none."""
        ...


class Embedder(Protocol):
    """Turns aligned chips into vectors. Thread-safe."""

    @property
    def template_version(self) -> str: ...

    def align(self, pixels: Pixels, landmarks: NDArray[np.float32]) -> AlignedFace:
        """(h w 3) uint8 RGB and (5 2) px -> the chips (s s 3) uint8 RGB that the weights were trained on, one for
        each network; sample quality is measured on the first."""
        ...

    def embed(self, faces: Sequence[AlignedFace]) -> Vectors:
        """n faces as ``align`` gives them -> (n 128) float32, each of the pack's norm; n may be 0.
        Raises Overloaded."""
        ...


class Extractor(Protocol):
    """The whole pipeline: decode, detect, align, assess, embed."""

    @property
    def pack(self) -> str:
        """Name of the model pack."""
        ...

    @property
    def title(self) -> str:
        """What the pack is, in words."""
        ...

    @property
    def template_version(self) -> str: ...

    @property
    def norm(self) -> float:
        """Length of every template's vector."""
        ...

    @property
    def calibration(self) -> Calibration | None: ...

    @property
    def threshold(self) -> float:
        """Squared L2 below which templates match unless a caller asks otherwise."""
        ...

    def detect(self, photograph: bytes) -> Capture:
        """All faces of a photograph, largest first, with box, landmarks and quality; their templates are empty
        ((0,) vectors). A photograph without a face gives no samples. Raises ImageError, TooManyFaces."""
        ...

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        """The chosen faces with templates. Raises ImageError, NoFace, SeveralFaces (choice ONLY), TooManyFaces."""
        ...


class VersionedExtractors(Protocol):
    """The pipelines of the packs that are here, by what they make."""

    def of(self, template_version: str) -> Extractor:
        """That which makes templates of this version, opened at first use. Raises TemplateVersionMismatch where no pack
        here makes them, ModelError where it can't be loaded."""
        ...

    def version_of(self, pack: str) -> str:
        """Template version of the pack of this name, which is built if need be. Raises ModelError."""
        ...


class Extractors(VersionedExtractors, Protocol):
    """Galleries of different packs are served side by side."""

    @property
    def default(self) -> Extractor:
        """Of the pack in use: for comparisons without a gallery."""
        ...

    @property
    def default_version(self) -> str:
        """Template version of the pack in use, for new galleries; no network is loaded for it."""
        ...


class TemplateIndex(Protocol):
    """Nearest vectors of one gallery, by key. A projection: rebuilt from the store at will. Thread-safe."""

    @property
    def kind(self) -> str:
        """How it stores vectors and finds them, in a word."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of this process's memory that its vectors and keys take."""
        ...

    def __len__(self) -> int: ...

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """keys (n,), vectors (n d) float32. A key that is there already is replaced."""
        ...

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Forgets keys (n,); unknown ones are ignored."""
        ...

    def search(self, probes: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(n d) -> distances (n m) squared L2 ascending, and keys (n m): a shortlist for each probe.

        The k nearest, min(k, len) of them, are in the shortlist, and further ones may be; distances are the index's
        own. Where it stores vectors exactly m = min(k, len) and the distances are exact; where it stores less, it is
        for the caller to tell by the vectors themselves which of the shortlist are the k nearest. A shorter shortlist
        than another probe's is filled up with key -1 at distance inf."""
        ...
