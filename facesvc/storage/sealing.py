"""What is encrypted on its way to and from the database, and with which key.

Galleries and subjects as their rows name and keep them: in the clear, or by tokens and sealed.

What is of a gallery is sealed with the tenant's data key, what is of a subject with the subject's own. Rows that were
written before the tenant had keys are found and read all the same, until all of them are sealed.

What belongs to one subject, put into columns and taken out: in the clear, or sealed with the subject's own key, so
that it is gone for good once that key is.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from facesvc.core.types import DIMENSION, Face, NewReference, Photograph, Quality, Vectors
from facesvc.errors import RequestError, SealBroken, StoreError
from facesvc.storage.cipher import Codec, Vault, require_plain
from facesvc.storage.keys import latest_data_key
from facesvc.storage.tables import (
    GalleryRow,
    PhotographRow,
    ReferenceRow,
    SubjectRow,
    Table,
    require_json,
    require_text,
)
from facesvc.storage.transactions import Transactions


@dataclass(frozen=True, slots=True)
class GalleryDetails:
    """What a gallery's row seals."""

    name: str
    metadata: Mapping[str, Any]


def gallery_names(codec: Codec, name: str) -> tuple[str, ...]:
    """What the row of the gallery of this name may say its name is. Raises RequestError for text that can't be one."""
    return stored_names(codec, "gallery", name)


def subject_names(codec: Codec, gallery_key: int, name: str) -> tuple[str, ...]:
    """The same of a subject. One who is in two galleries has two tokens."""
    return stored_names(codec, f"subject {gallery_key}", name)


def stored_names(codec: Codec, kind: str, name: str) -> tuple[str, ...]:
    """The first is how it is written; further ones are how it may have been."""
    if not codec.sealing:
        return (name,)
    token = codec.token(kind, checked(name).encode())
    return (token, name) if codec.admits_plain else (token,)


def is_token(stored: str) -> bool:
    """Whether a stored name stands for another; no name begins so."""
    return stored.startswith("/")


def data_key_of(session: Session, rows: Transactions) -> int | None:
    """Version of the data key that this transaction seals with; None where nothing is sealed."""
    return latest_data_key(session, rows.tenant) if rows.codec.sealing else None


def gallery_columns(session: Session, rows: Transactions, details: GalleryDetails) -> dict[str, Any]:
    """Columns of GalleryRow."""
    version = data_key_of(session, rows)
    if version is None:
        return {"name": details.name, "details": dict(details.metadata)}
    name, content = gallery_names(rows.codec, details.name)[0], packed(asdict(details))
    sealed = rows.codec.tenants(version).seal(content, owner_of_gallery(name))
    return {"name": name, "details": {}, "sealed": sealed, "data_key": version}


def open_gallery(codec: Codec, row: GalleryRow) -> GalleryDetails:
    """Raises SealBroken."""
    if row.sealed is None:
        require_plain(codec, "a gallery")
        return GalleryDetails(row.name, row.details)
    assert row.data_key is not None
    return GalleryDetails(**json.loads(codec.tenants(row.data_key).open(row.sealed, owner_of_gallery(row.name))))


def put(row: Table, columns: Mapping[str, Any]) -> None:
    """Into a row that is there."""
    for name, value in columns.items():
        setattr(row, name, value)


def owner_of_gallery(stored_name: str) -> str:
    return f"gallery {stored_name}"


def packed(details: Mapping[str, Any]) -> bytes:
    """Raises RequestError for what the database would refuse where it is stored in the clear."""
    try:
        return require_json(details)
    except (ValueError, TypeError) as error:
        raise unstorable(error) from error


def checked(text: str) -> str:
    """Raises RequestError for text that the database would refuse."""
    try:
        return require_text(text)
    except ValueError as error:
        raise unstorable(error) from error


def unstorable(error: Exception) -> RequestError:
    return RequestError(f"a value can't be stored: {error}")


Identity = tuple[str, bytes]
"""image_sha256 and box, or their tokens: what makes a reference the same one when it is sent again."""
PLAIN_VECTOR = 4 * DIMENSION
"""Bytes of a vector in the clear; sealed ones are longer."""
SEALED = ""
"""Media type of a photograph that is sealed, and its media type with it."""


@dataclass(frozen=True, slots=True)
class Who:
    """What a subject's row seals. canary: 1 for a subject that is nobody, see ``service.disclosure``; a number, since
    sealed values tell how long they are."""

    id: str
    display_name: str | None
    metadata: Mapping[str, Any]
    consent: str | None = None
    canary: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a reference's row seals."""

    face: Face
    quality: Quality
    image_sha256: str


class Locker:
    """One subject's. gallery_key, name: of its row, as stored; key: its own, wrapped by the data key of version
    ``data_key``, None where it has none. Raises SealBroken for what is not as it was put in."""

    def __init__(self, codec: Codec, gallery_key: int, name: str, key: bytes | None, data_key: int | None) -> None:
        self.codec, self.name = codec, name
        self._vault: Vault | None = None
        if key is None:
            require_plain(codec, "a subject")
        else:
            assert data_key is not None
            self._vault = codec.subject(key, data_key, owner_of_key(gallery_key, name))

    @classmethod
    def of(cls, codec: Codec, row: SubjectRow) -> "Locker":
        return cls(codec, row.gallery_key, row.id, row.sealed_key, row.data_key)

    # --- the subject itself ------------------------------------------------------------------------

    def put_subject(self, who: Who) -> dict[str, Any]:
        """Columns of SubjectRow, but for its key."""
        if self._vault is None:
            clear = {"display_name": who.display_name, "details": dict(who.metadata), "consent": who.consent}
            return {"id": who.id, "canary": bool(who.canary), **clear}
        for text in (who.display_name, who.consent):
            checked(text or "")
        sealed = self._vault.seal(packed(asdict(who)), f"subject {self.name}")
        hidden = {"display_name": None, "details": {}, "consent": None, "canary": False}
        return {"id": self.name, "sealed": sealed, **hidden}

    def subject(self, row: SubjectRow) -> Who:
        if row.sealed is None:
            require_plain(self.codec, "a subject")
            return Who(row.id, row.display_name, row.details, row.consent, int(row.canary))
        return Who(**json.loads(self._opened(row.sealed, f"subject {self.name}")))

    # --- references --------------------------------------------------------------------------------

    def identity(self, new: NewReference) -> Identity:
        """As it is written; ``plain_identity`` is how it may have been."""
        if self._vault is None:
            return plain_identity(new)
        image = self.codec.token(f"image {self.name}", new.image_sha256.encode())
        return image, self.codec.token(f"box {self.name}", pack(new.sample.face.box)).encode()

    def put_reference(self, public_id: str, new: NewReference) -> dict[str, Any]:
        """Columns of ReferenceRow that tell of the photograph and the face."""
        face, quality = new.sample.face, asdict(new.sample.quality)
        image, box = self.identity(new)
        if self._vault is None:
            clear = {"landmarks": pack(face.landmarks), "score": float(face.score), "quality": quality}
            return {"image_sha256": image, "box": box, **clear}
        numbers = pack(face.box) + pack(face.landmarks) + np.float64(face.score).astype("<f8").tobytes()
        content = numbers + packed({"image_sha256": new.image_sha256, "quality": quality})
        sealed = self._vault.seal(content, f"reference {public_id}")
        return {"image_sha256": image, "box": box, "landmarks": b"", "score": 0.0, "quality": {}, "sealed": sealed}

    def reference(self, row: ReferenceRow) -> Seen:
        if row.sealed is None:
            require_plain(self.codec, f"reference {row.id}")
            face = Face(unpack(row.box, 4), unpack(row.landmarks, 5, 2), row.score)
            return Seen(face, _quality(row.quality), row.image_sha256)
        content = self._opened(row.sealed, f"reference {row.id}")
        score = float(np.frombuffer(content, "<f8", 1, 56)[0])
        rest = json.loads(content[64:])
        face = Face(unpack(content[:16], 4), unpack(content[16:56], 5, 2), score)
        return Seen(face, _quality(rest["quality"]), rest["image_sha256"])

    # --- templates and photographs -----------------------------------------------------------------

    def put_vector(self, public_id: str, template_version: str, vector: Vectors) -> bytes:
        """(128,) float32."""
        content = pack(vector)
        return self._vault.seal(content, f"vector {public_id} {template_version}") if self._vault else content

    def vector(self, public_id: str, template_version: str, stored: bytes) -> Vectors:
        """(128,) float32, perhaps read-only. Raises StoreError for bytes that are none."""
        if len(stored) == PLAIN_VECTOR:
            require_plain(self.codec, f"a template of {public_id}")
        elif self._vault is None:
            raise StoreError(f"stored vector of {public_id} is damaged")
        else:
            stored = self._vault.open(stored, f"vector {public_id} {template_version}")
        return np.frombuffer(stored, "<f4").astype(np.float32, copy=False)

    def put_photograph(self, public_id: str, photograph: Photograph) -> dict[str, Any]:
        """Columns of PhotographRow."""
        if self._vault is None:
            return {"content": photograph.content, "media_type": photograph.media_type}
        content = photograph.media_type.encode() + b"\0" + photograph.content
        return {"content": self._vault.seal(content, f"photograph {public_id}"), "media_type": SEALED}

    def photograph(self, public_id: str, row: PhotographRow) -> Photograph:
        return self.photograph_of(public_id, row.content, row.media_type)

    def photograph_of(self, public_id: str, content: bytes, media_type: str) -> Photograph:
        if media_type != SEALED:
            require_plain(self.codec, f"photograph of {public_id}")
            return Photograph(content, media_type)
        media, _, opened = self._opened(content, f"photograph {public_id}").partition(b"\0")
        return Photograph(opened, media.decode())

    # --- answers -----------------------------------------------------------------------------------

    def put_answer(self, key: str, answer: bytes) -> bytes:
        """key: as stored."""
        return self._vault.seal(answer, f"answer {key}") if self._vault else answer

    def answer(self, key: str, stored: bytes) -> bytes:
        return self._opened(stored, f"answer {key}")

    def _opened(self, stored: bytes, owner: str) -> bytes:
        if self._vault is None:
            raise SealBroken(f"what is stored of {owner} is sealed, and its subject has no key")
        return self._vault.open(stored, owner)


class Lockers:
    """Those of the subjects that one call meets, each opened once; and who they are."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._known: dict[int, Locker] = {}
        self._who: dict[int, Who] = {}

    def of(self, row: SubjectRow) -> Locker:
        return self.at(row.key, row.gallery_key, row.id, row.sealed_key, row.data_key)

    def at(self, subject_key: int, gallery_key: int, name: str, key: bytes | None, data_key: int | None) -> Locker:
        """By the columns of the subject's row."""
        found = self._known.get(subject_key)
        if found is None:
            found = self._known[subject_key] = Locker(self._codec, gallery_key, name, key, data_key)
        return found

    def who(self, row: SubjectRow) -> Who:
        found = self._who.get(row.key)
        if found is None:
            found = self._who[row.key] = self.of(row).subject(row)
        return found


def new_subject(codec: Codec, data_key: int | None, gallery_key: int, who: Who) -> dict[str, Any]:
    """Columns of a new SubjectRow, with a key of its own where ``data_key`` is there to wrap it."""
    name, key = subject_names(codec, gallery_key, who.id)[0], None
    if data_key is not None:
        key = codec.new_key(data_key, owner_of_key(gallery_key, name))
    columns = Locker(codec, gallery_key, name, key, data_key).put_subject(who)
    return columns | {"sealed_key": key, "data_key": data_key}


def owner_of_key(gallery_key: int, stored_name: str) -> str:
    return f"key of subject {gallery_key} {stored_name}"


def plain_identity(new: NewReference) -> Identity:
    return new.image_sha256, pack(new.sample.face.box)


def pack(numbers: NDArray[np.float32]) -> bytes:
    """float32 of any shape -> little-endian bytes."""
    return np.asarray(numbers, "<f4").tobytes()


def unpack(stored: bytes, *shape: int) -> NDArray[np.float32]:
    """What ``pack`` was given, writable."""
    return np.frombuffer(stored, "<f4").astype(np.float32).reshape(shape)


def _quality(kept: Mapping[str, Any]) -> Quality:
    return Quality(**{**kept, "reasons": tuple(kept["reasons"])})
