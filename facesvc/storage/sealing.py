"""What is encrypted on its way to and from the database, and with which key.

Details of a gallery are sealed with the tenant's data key. Each subject has a key of its own, wrapped by the data key,
which seals all that belongs to it: without that key nothing of the subject can be opened. Names and other values that
are looked up are stored as tokens (keyed digests) of themselves. Each sealed value is bound to its row and column, so
that neither can be exchanged unnoticed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from facesvc.core.types import Face, NewReference, Photograph, Quality, Vectors
from facesvc.crypto.codec import Codec
from facesvc.errors import RequestError
from facesvc.storage.keys import latest_data_key
from facesvc.storage.tables import GalleryRow, ReferenceRow, SubjectRow, Table, require_json, require_text
from facesvc.storage.transactions import Transactions


class SealedRows(Transactions):
    """Transactions over one tenant's rows, and the codec that seals them.

    seen: names of the galleries that the caller may use, None for all; the others are treated as not there.
    """

    def __init__(self, engine: Engine, tenant: str, codec: Codec, seen: frozenset[str] | None = None) -> None:
        super().__init__(engine, tenant)
        self.codec, self.seen = codec, seen

    def sees(self, gallery: str) -> bool:
        return self.seen is None or gallery in self.seen


# --- galleries ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GalleryDetails:
    """What a gallery's row seals."""

    name: str
    metadata: Mapping[str, Any]


def gallery_token(codec: Codec, name: str) -> str:
    """Return what the row of a gallery has in place of its name. Raises RequestError for text that can't be stored."""
    return text_token(codec, "gallery", name)


def gallery_columns(session: Session, rows: SealedRows, details: GalleryDetails) -> dict[str, Any]:
    """Return the columns of GalleryRow that hold ``details``, sealed with the newest data key."""
    version, name = latest_data_key(session, rows.tenant), gallery_token(rows.codec, details.name)
    sealed = rows.codec.data_key(version).seal(packed(asdict(details)), owner_of_gallery(name))
    return {"name": name, "sealed": sealed, "data_key": version}


def open_gallery(codec: Codec, row: GalleryRow) -> GalleryDetails:
    """Open what ``gallery_columns`` sealed. Raises SealBroken."""
    return GalleryDetails(**json.loads(codec.data_key(row.data_key).open(row.sealed, owner_of_gallery(row.name))))


def owner_of_gallery(token: str) -> str:
    return f"gallery {token}"


# --- subjects and what belongs to them ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SubjectDetails:
    """What a subject's row seals. canary: 1 for a subject that stands for no person, see ``service.disclosure``; a
    number, since sealed values tell how long they are."""

    id: str
    display_name: str | None
    metadata: Mapping[str, Any]
    consent: str | None = None
    canary: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceDetails:
    """What a reference's row seals."""

    face: Face
    quality: Quality
    image_sha256: str


class SubjectCipher:
    """Seals and opens what belongs to one subject, with the subject's own key.

    token: the subject's id as its row has it; key: the subject's key, wrapped by the tenant's data key of version
    ``data_key``. Its methods raise SealBroken for stored values that were changed, moved, or sealed for another.
    """

    def __init__(self, codec: Codec, gallery_key: int, token: str, key: bytes, data_key: int) -> None:
        self._codec, self.token = codec, token
        self._envelope = codec.subject(key, data_key, owner_of_key(gallery_key, token))

    @classmethod
    def of(cls, codec: Codec, row: SubjectRow) -> "SubjectCipher":
        """Return the cipher of the subject in ``row``."""
        return cls(codec, row.gallery_key, row.id, row.sealed_key, row.data_key)

    def seal_subject(self, details: SubjectDetails) -> bytes:
        """Seal what ``SubjectRow.sealed`` holds. Raises RequestError for text or metadata that can't be stored."""
        for text in (details.display_name, details.consent):
            checked(text or "")
        return self._envelope.seal(packed(asdict(details)), f"subject {self.token}")

    def open_subject(self, row: SubjectRow) -> SubjectDetails:
        return SubjectDetails(**json.loads(self._envelope.open(row.sealed, f"subject {self.token}")))

    def identity(self, new: NewReference) -> str:
        """Return the token of photograph and box: what makes a reference the same one when it is sent again."""
        identity = new.image_sha256.encode() + b"\0" + pack(new.sample.face.box)
        return self._codec.token(f"reference {self.token}", identity)

    def seal_reference(self, public_id: str, new: NewReference) -> bytes:
        """Seal what ``ReferenceRow.sealed`` holds: box, landmarks and score as little-endian numbers, then JSON."""
        face, quality = new.sample.face, asdict(new.sample.quality)
        numbers = pack(face.box) + pack(face.landmarks) + np.float64(face.score).astype("<f8").tobytes()
        content = numbers + packed({"image_sha256": new.image_sha256, "quality": quality})
        return self._envelope.seal(content, f"reference {public_id}")

    def open_reference(self, row: ReferenceRow) -> ReferenceDetails:
        content = self._envelope.open(row.sealed, f"reference {row.id}")
        score = float(np.frombuffer(content, "<f8", 1, 56)[0])
        rest = json.loads(content[64:])
        face = Face(unpack(content[:16], 4), unpack(content[16:56], 5, 2), score)
        return ReferenceDetails(face, _quality(rest["quality"]), rest["image_sha256"])

    def seal_vector(self, public_id: str, template_version: str, vector: Vectors) -> bytes:
        """Seal a template's vector, (128,) float32: 541 bytes."""
        return self._envelope.seal(pack(vector), f"vector {public_id} {template_version}")

    def open_vector(self, public_id: str, template_version: str, stored: bytes) -> Vectors:
        """Return the vector, (128,) float32, perhaps read-only."""
        content = self._envelope.open(stored, f"vector {public_id} {template_version}")
        return np.frombuffer(content, "<f4").astype(np.float32, copy=False)

    def seal_photograph(self, public_id: str, photograph: Photograph) -> bytes:
        """Seal a photograph, and its media type with it."""
        content = photograph.media_type.encode() + b"\0" + photograph.content
        return self._envelope.seal(content, f"photograph {public_id}")

    def open_photograph(self, public_id: str, stored: bytes) -> Photograph:
        media_type, _, content = self._envelope.open(stored, f"photograph {public_id}").partition(b"\0")
        return Photograph(content, media_type.decode())

    def seal_answer(self, token: str, answer: bytes) -> bytes:
        """Seal the answer to a request. token: the request's idempotency key, as stored."""
        return self._envelope.seal(answer, f"answer {token}")

    def open_answer(self, token: str, stored: bytes) -> bytes:
        return self._envelope.open(stored, f"answer {token}")


class SubjectCiphers:
    """The ciphers and details of the subjects that one call meets, each opened once."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._ciphers: dict[int, SubjectCipher] = {}
        self._details: dict[int, SubjectDetails] = {}

    def of(self, row: SubjectRow) -> SubjectCipher:
        return self.at(row.key, row.gallery_key, row.id, row.sealed_key, row.data_key)

    def at(self, subject_key: int, gallery_key: int, token: str, key: bytes, data_key: int) -> SubjectCipher:
        """Return the cipher of the subject whose row has these columns."""
        found = self._ciphers.get(subject_key)
        if found is None:
            found = self._ciphers[subject_key] = SubjectCipher(self._codec, gallery_key, token, key, data_key)
        return found

    def details(self, row: SubjectRow) -> SubjectDetails:
        """Return the opened details of the subject in ``row``."""
        found = self._details.get(row.key)
        if found is None:
            found = self._details[row.key] = self.of(row).open_subject(row)
        return found


def subject_token(codec: Codec, gallery_key: int, subject: str) -> str:
    """Return what the row of a subject has in place of its id; of another gallery's subject it is another. Raises
    RequestError for text that can't be stored."""
    return text_token(codec, f"subject {gallery_key}", subject)


def new_subject(codec: Codec, data_key: int, gallery_key: int, details: SubjectDetails) -> dict[str, Any]:
    """Return the sealed columns of a new SubjectRow, with a new key that data key ``data_key`` wraps."""
    token = subject_token(codec, gallery_key, details.id)
    key = codec.new_key(data_key, owner_of_key(gallery_key, token))
    sealed = SubjectCipher(codec, gallery_key, token, key, data_key).seal_subject(details)
    return {"id": token, "sealed": sealed, "sealed_key": key, "data_key": data_key}


def owner_of_key(gallery_key: int, token: str) -> str:
    return f"key of subject {gallery_key} {token}"


# --- values ---------------------------------------------------------------------------------------


def text_token(codec: Codec, kind: str, text: str) -> str:
    """Return the token of text of a kind. Raises RequestError for text that can't be stored."""
    return codec.token(kind, checked(text).encode())


def put(row: Table, columns: Mapping[str, Any]) -> None:
    """Write ``columns`` into a row that exists."""
    for name, value in columns.items():
        setattr(row, name, value)


def packed(details: Mapping[str, Any]) -> bytes:
    """Return ``details`` as JSON. Raises RequestError for values that are not JSON."""
    try:
        return require_json(details)
    except (ValueError, TypeError) as error:
        raise unstorable(error) from error


def checked(text: str) -> str:
    """Return ``text``. Raises RequestError where it is too long, or is not text that can be stored."""
    try:
        return require_text(text)
    except ValueError as error:
        raise unstorable(error) from error


def unstorable(error: Exception) -> RequestError:
    return RequestError(f"a value can't be stored: {error}")


def pack(numbers: NDArray[np.float32]) -> bytes:
    """float32 of any shape -> little-endian bytes."""
    return np.asarray(numbers, "<f4").tobytes()


def unpack(stored: bytes, *shape: int) -> NDArray[np.float32]:
    """Return what ``pack`` was given, writable."""
    return np.frombuffer(stored, "<f4").astype(np.float32).reshape(shape)


def _quality(kept: Mapping[str, Any]) -> Quality:
    return Quality(**{**kept, "reasons": tuple(kept["reasons"])})
