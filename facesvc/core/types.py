"""The nouns of face recognition (ISO/IEC 2382-37), as frozen values.

Arrays: ``h w`` height and width in pixels, ``n`` faces, ``d`` = 128 template dimensions.
Pixel coordinates have x to the right, y down, the origin at the top-left corner of the image.

A gallery's second set of templates, while it moves from one model pack to another.

What moves when a gallery leaves one store for another.

For how long a subject may be kept, and what allows it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from facesvc.core.names import CONSENT_LENGTH, DISPLAY_NAME_LENGTH, require_metadata, require_name, require_text


class ShadowState(StrEnum):
    """What templates of another version are there for, beside those that answer.

    FILLING: to follow them; STANDBY: they were there before, and may come back; LEAVING: none of that, they are being
    deleted.
    """

    FILLING = "filling"
    STANDBY = "standby"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Shadow:
    """A gallery's templates of another version than the one that answers; templates: how many there are."""

    template_version: str
    state: ShadowState
    templates: int


Pixels = NDArray[np.uint8]
"""(h w 3) uint8, RGB, 0..255, upright."""
AlignedFace = tuple[Pixels, ...]
"""One face as an embedder wants it: a square chip (s s 3) for each of its networks, in their order."""
Vectors = NDArray[np.float32]
"""(n d) or (d,) float32."""
T = TypeVar("T")

SECONDS_OF_A_DAY = 86_400
DIMENSION = 128
"""Length of every template's vector, fixed by the product."""
LANDMARKS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""Order of the five landmarks; right and left are the subject's own, so right_eye lies left in the image."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A decoded photograph.

    pixels: (h w 3) uint8 RGB, upright (EXIF orientation applied, alpha flattened, CMYK and 16 bit converted).
    width, height: size of the upright photograph as sent, px; larger than pixels' when decoding reduced it.
    format: decoder's name of the file format, e.g. "JPEG".
    """

    pixels: Pixels
    width: int
    height: int
    format: str

    @property
    def scale(self) -> float:
        """Decoded pixels per pixel of the photograph as sent, 0 < scale <= 1; by its longer side, as the shorter one
        may have been rounded by much of itself."""
        return max(self.pixels.shape[:2]) / max(self.width, self.height)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A detected face.

    box: (4,) float32, x1 y1 x2 y2 px; may reach beyond the image where the face does.
    landmarks: (5 2) float32, x y px, in the order of LANDMARKS.
    score: the detector's own score, 0..1.
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float

    def scaled(self, factor: float) -> "Face":
        """The same face in an image whose sides are ``factor`` times as long."""
        return Face(self.box * np.float32(factor), self.landmarks * np.float32(factor), self.score)

    @property
    def size(self) -> float:
        """Geometric mean of the box's sides, px."""
        w, h = np.maximum(self.box[2:] - self.box[:2], 0)
        return float(np.sqrt(w * h))


@dataclass(frozen=True, slots=True)
class Quality:
    """What a sample is worth. Measures are defined in ``core.quality``.

    face_size px (as sent); sharpness 0.. (higher is sharper); yaw, pitch -1..1 and roll degrees, from landmarks;
    brightness 0..255 (mean luminance), contrast 0.. (its standard deviation).
    reasons: stable error codes (``face_blurred``, ...) for which the sample fails; empty when acceptable.
    """

    face_size: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    brightness: float
    contrast: float
    reasons: tuple[str, ...] = ()

    @property
    def acceptable(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """vector: (128,) float32 of the length its pack states (1 unless the manifest says otherwise);
    version: the pack's template version. Only templates of one version may be compared."""

    vector: Vectors
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One face of a photograph, through all stages. ``face`` is in pixels of the photograph as sent."""

    face: Face
    quality: Quality
    template: Template


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """What one photograph gave. samples: the faces asked for, largest first; faces_found: all that were detected;
    timings: stage name -> milliseconds; format: the file's, e.g. "JPEG"."""

    samples: tuple[Sample, ...]
    faces_found: int
    width: int
    height: int
    timings: Mapping[str, float] = field(default_factory=dict)
    format: str = ""


class FaceChoice(StrEnum):
    """Which faces of a photograph to use.

    PROMINENT: the one a photographer meant, by size and nearness to the centre (``core.choose.prominence``);
    LARGEST: by size alone; ONLY: the one there is, several are an error; ALL: every face, largest first.
    """

    PROMINENT = "prominent"
    LARGEST = "largest"
    ONLY = "only"
    ALL = "all"


# --- stored things -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gallery:
    """A named set of subjects whose templates share one version, ``template_version``: those that answer.

    key: the store's own number, never reused; revision: number of the last change to its templates; templates: how
    many references have one of that version, all but those that a model change left behind; shadow: of another
    version, while the gallery moves from one to the other; issue: which rotation of its templates indexes hold
    (``core.rotation``).
    """

    key: int
    name: str
    template_version: str
    keep_photographs: bool
    revision: int
    subjects: int
    references: int
    metadata: Mapping[str, Any]
    created_at: datetime
    templates: int
    shadow: Shadow | None = None
    issue: int = 1

    @property
    def versions(self) -> tuple[str, ...]:
        """Those of which it holds, or is to hold, a template of every reference; the one that answers comes first."""
        if self.shadow is None or self.shadow.state is ShadowState.LEAVING:
            return (self.template_version,)
        return self.template_version, self.shadow.template_version

    def of(self, template_version: str) -> "Gallery":
        """The same gallery as one of its versions has it: the way to ask for that version's templates and index."""
        return replace(self, template_version=template_version)


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in a gallery. id: the caller's own (external) identifier, unique in the gallery; key: the store's own
    number. consent, expires_at: see core.types."""

    id: str
    gallery: str
    display_name: str | None
    metadata: Mapping[str, Any]
    references: int
    created_at: datetime
    updated_at: datetime
    consent: str | None = None
    expires_at: datetime | None = None
    key: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class NewReference:
    """A reference about to be stored: a sample and, where the gallery keeps photographs, its bytes. shadow: the same
    face's template of the gallery's other version, while it has two."""

    sample: Sample
    image_sha256: str
    photograph: bytes | None = None
    media_type: str | None = None
    shadow: Template | None = None

    @property
    def templates(self) -> tuple[Template, ...]:
        return (self.sample.template, self.shadow) if self.shadow else (self.sample.template,)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A face of a subject. key: the store's own number (the index's id); id: public ``ref_...``. Its template is of
    the version that was asked for; the vector is empty, (0,), where there is none: left behind by a model change."""

    key: int
    id: str
    subject: str
    display_name: str | None
    sample: Sample
    image_sha256: str
    has_photograph: bool
    created_at: datetime

    @property
    def has_template(self) -> bool:
        return len(self.sample.template.vector) > 0


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that is to be done at most once. key: SHA-256 of the caller's name for it; request: SHA-256 of all
    that it asks for."""

    key: str
    request: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is stored in the transaction that does a ticket's request: its answer, made of the stored references."""

    ticket: Ticket
    answer: Callable[[Sequence[Reference]], bytes]


@dataclass(frozen=True, slots=True)
class Photograph:
    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing; ``next_cursor`` is opaque, None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What happened to a gallery's references after some revision, in order.

    added: (n,) int64 keys of what is there still; vectors: (n d) float32, as indexes hold them (see
    ``storage.revisions``); removed: (m,) int64 keys of what is not
    there any more, whether it was before that revision or was added since; revision: where this leads to.
    """

    added: NDArray[np.int64]
    vectors: Vectors
    removed: NDArray[np.int64]
    revision: int


# --- answers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subject that a probe may belong to: squared L2 distance of its nearest reference."""

    subject: str
    display_name: str | None
    distance: float
    reference: str


@dataclass(frozen=True, slots=True, eq=False)
class KeptReference:
    """A reference with what the store gave it when it was enrolled: its public id and its moment."""

    id: str
    new: NewReference
    created_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A subject and one of its references, or a subject that has none."""

    subject: str
    display_name: str | None
    metadata: Mapping[str, Any]
    subject_created_at: datetime
    reference: KeptReference | None


@dataclass(frozen=True, slots=True)
class Added:
    """What storing some entries changed: subjects and references that are new; entries of which all was there."""

    subjects: int = 0
    references: int = 0
    already: int = 0

    def __add__(self, other: "Added") -> "Added":
        return Added(self.subjects + other.subjects, self.references + other.references, self.already + other.already)


@dataclass(frozen=True, slots=True)
class LoadedIndex:
    """An index in memory: its gallery's name, the references it holds, the revision it stands at; its kind, and the
    bytes that its vectors and keys take."""

    gallery: str
    references: int
    revision: int
    kind: str
    nbytes: int


Item = TypeVar("Item")
PAGE = 500
"""Items read at a time; listings over HTTP give no more."""


def every(read: Callable[[int, str | None], Page[Item]]) -> Iterator[Item]:
    """All items of a listing in their order, a page of them in memory at a time. read: a page of so many items at most,
    from a cursor on, None for the first."""
    cursor: str | None = None
    while True:
        page = read(PAGE, cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


@dataclass(frozen=True, slots=True)
class Retention:
    """consent: the caller's reference to what allows it, such as a document's number; expires_at: from then on the
    subject does not answer, and is deleted soon. What is None stays as it is."""

    consent: str | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raises RequestError for a reference to consent that is not one line of at most CONSENT_LENGTH characters."""
        require_text("a reference to consent", self.consent, CONSENT_LENGTH)


NO_LIMIT = Retention()


# --- what is asked for ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewGallery:
    """A gallery to create. keep_photographs: store enrolled photographs beside their templates."""

    name: str
    keep_photographs: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises RequestError for a bad name or bad metadata."""
        require_name(self.name)
        require_metadata(self.metadata)


@dataclass(frozen=True, slots=True)
class GalleryChange:
    """What to change of a gallery; what is None stays as it is. Photographs that were stored are deleted when
    keep_photographs becomes False."""

    keep_photographs: bool | None = None
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Raises RequestError for bad metadata."""
        require_metadata(self.metadata)


@dataclass(frozen=True, slots=True)
class NewSubject:
    """A subject to create. id: the caller's own identifier of the person, unique in the gallery."""

    id: str
    display_name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retention: Retention = NO_LIMIT

    def __post_init__(self) -> None:
        """Raises RequestError for a bad id, display name or bad metadata."""
        require_name(self.id)
        require_text("a display name", self.display_name, DISPLAY_NAME_LENGTH)
        require_metadata(self.metadata)


@dataclass(frozen=True, slots=True)
class SubjectChange:
    """What to change of a subject; what is None stays as it is."""

    display_name: str | None = None
    metadata: Mapping[str, Any] | None = None
    retention: Retention = NO_LIMIT

    def __post_init__(self) -> None:
        """Raises RequestError for a bad display name or bad metadata."""
        require_text("a display name", self.display_name, DISPLAY_NAME_LENGTH)
        require_metadata(self.metadata)


@dataclass(frozen=True, slots=True, eq=False)
class Unembedded:
    """A reference that lacks a template of the shadow's version. box: (4,) float32 px, of its face."""

    key: int
    id: str
    subject: str
    box: NDArray[np.float32]
    has_photograph: bool


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A reference without a template of the version in question. code: of the error that says why; None where it was
    not tried yet."""

    reference: str
    subject: str
    code: str | None
