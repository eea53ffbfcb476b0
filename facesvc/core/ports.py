"""What the use cases need of the outside: implemented at the edges, wired in ``facesvc.bootstrap``.

What searches and comparisons read of a store: they walk far through what is near, so each method reads no more than
it says.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.core.decide import Calibration
from facesvc.core.erasure import ErasingStore
from facesvc.core.types import (
    AlignedFace,
    Capture,
    Changes,
    Face,
    FaceChoice,
    Gallery,
    GalleryChange,
    NewGallery,
    NewReference,
    NewSubject,
    Page,
    Photograph,
    Pixels,
    Receipt,
    Reference,
    Subject,
    SubjectChange,
    Ticket,
    Vectors,
)


class ComparableStore(Protocol):
    """Of one tenant's galleries, as their templates of ``gallery.template_version`` have them; subjects that have
    expired are not there. Raises StoreUnavailable."""

    def owners(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, int]:
        """Of those of keys that (still) exist in the gallery and have a template: the subject's own number. Nothing is
        opened."""
        ...

    def vectors(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, Vectors]:
        """The template's vector, (128,) float32, of those of keys, all of this gallery, that (still) have one."""
        ...

    def comparable(self, gallery: Gallery, subject: str) -> list[int]:
        """Keys of the subject's references that have a template, oldest first. Raises GalleryNotFound,
        SubjectNotFound."""
        ...

    def answering(self, gallery: Gallery, most: int) -> int:
        """How many subjects have a template at all; counted up to ``most``."""
        ...

    def references_by_key(self, gallery: Gallery, keys: Sequence[int]) -> list[Reference]:
        """Those of keys that (still) exist in the gallery and have a template of ``gallery.template_version``, in any
        order."""
        ...


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


class ReferenceStore(ComparableStore, ErasingStore, Protocol):
    """The truth: galleries, subjects, references, photographs, for one tenant. Every write is one transaction
    that also appends to the revision log. All methods raise StoreUnavailable when the database can't be reached,
    and GalleryNotFound / SubjectNotFound / ReferenceNotFound for names that are not there."""

    def create_gallery(self, new: NewGallery, template_version: str) -> Gallery:
        """Raises GalleryExists."""
        ...

    def gallery(self, name: str) -> Gallery: ...

    def galleries(self, limit: int, cursor: str | None = None) -> Page[Gallery]:
        """By name; in an order that says nothing of it where names are sealed. Raises InvalidCursor."""
        ...

    def update_gallery(self, name: str, change: GalleryChange) -> Gallery: ...

    def delete_gallery(self, name: str) -> None: ...

    def create_subject(self, gallery: str, new: NewSubject) -> Subject:
        """Raises SubjectExists, also for one that has expired and was not deleted yet."""
        ...

    def subject(self, gallery: str, subject: str) -> Subject: ...

    def subjects(self, gallery: str, limit: int, cursor: str | None = None) -> Page[Subject]:
        """By id; in an order that says nothing of it where ids are sealed. Raises InvalidCursor."""
        ...

    def update_subject(self, gallery: str, subject: str, change: SubjectChange) -> Subject: ...

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        """Whether its match raises an alarm; see ``service.disclosure``."""
        ...

    def delete_subject(self, gallery: str, subject: str) -> None:
        """Also one that has expired, which for all else is not there."""
        ...

    def add_references(
        self,
        gallery: str,
        subject: str,
        new: Sequence[NewReference],
        receipt: Receipt | None = None,
        versions: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Reference]:
        """Stores references, and the subject if it is new. A reference of the same photograph (image_sha256 and
        box) already stored for this subject is returned, not repeated; it is given the templates that it lacks.
        receipt: its answer is kept with the subject, where there is one; raises IdempotencyKeyInUse, and stores
        nothing, where another request's answer has been kept meanwhile. versions: of which templates were made, where
        they could be.
        Raises TemplateVersionMismatch for a reference without a template of the gallery's version, and where the
        gallery holds a version that is not among ``versions`` (any more); TooManyReferences where the subject would
        then have more than ``most``; SubjectExists where one of that id has expired and was not deleted yet."""
        ...

    def claim(self, ticket: Ticket) -> bytes | None:
        """The answer kept for this ticket; without one, the ticket is the caller's to answer or to release, and
        lapses where it does neither. Raises IdempotencyKeyInUse while it is another's, IdempotencyKeyReused where
        its key was of another request."""
        ...

    def release(self, ticket: Ticket) -> None:
        """Gives back a ticket that was claimed and not answered."""
        ...

    def references(self, gallery: str, subject: str, limit: int, cursor: str | None = None) -> Page[Reference]:
        """Oldest first. Raises InvalidCursor."""
        ...

    def reference(self, gallery: str, subject: str, reference: str) -> Reference: ...

    def delete_reference(self, gallery: str, subject: str, reference: str) -> None: ...

    def photograph(self, gallery: str, subject: str, reference: str) -> Photograph:
        """Raises PhotographNotFound where none was kept."""
        ...

    def issued(self, gallery: Gallery, vectors: Vectors) -> Vectors:
        """(n 128) templates or probes as the gallery's indexes hold them, see ``core.rotation``; as far apart."""
        ...

    def changes(self, gallery: Gallery, after: int, limit: int | None = None) -> Changes:
        """What happened to the gallery's templates of ``gallery.template_version`` after revision ``after`` (0: all
        there is), up to the write that makes it ``limit`` added ones or more: that is the answer's revision."""
        ...

    def removals(self, gallery: Gallery, after: int) -> tuple[NDArray[np.int64], int]:
        """Keys (n,) of the references that were removed after revision ``after``, and the gallery's revision."""
        ...

    def alone(self, name: str, patience: float | None = None) -> AbstractContextManager[None]:
        """Work of that name that one holder at a time does, among all threads and processes on this database and for
        this tenant; waits for its turn. A process that dies gives way to the next. Not reentrant.

        Raises StoreUnavailable where it is not its turn within ``patience`` seconds."""
        ...
