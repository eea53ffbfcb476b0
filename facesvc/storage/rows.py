"""A reference in columns: what a row is made of, and what is made of a row."""

import secrets
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Face, NewReference, Quality, Reference, Sample
from facesvc.storage.cipher import VectorCodec
from facesvc.storage.tables import GalleryRow, ReferenceRow, SubjectRow, TemplateRow
from facesvc.storage.templates import open_template

Identity = tuple[str, bytes]
"""image_sha256 and box: what makes a reference the same one when it is sent again."""


def identity(new: NewReference) -> Identity:
    return new.image_sha256, pack(new.sample.face.box)


def pack(numbers: NDArray[np.float32]) -> bytes:
    """float32 of any shape -> little-endian bytes."""
    return np.asarray(numbers, "<f4").tobytes()


def unpack(stored: bytes, *shape: int) -> NDArray[np.float32]:
    """What ``pack`` was given, writable."""
    return np.frombuffer(stored, "<f4").astype(np.float32).reshape(shape)


def new_id() -> str:
    """A reference's public id, 104 bits of chance."""
    return f"ref_{secrets.token_hex(13)}"


def reference_values(
    home: GalleryRow, subject_key: int, public_id: str, new: NewReference, created_at: datetime
) -> dict[str, Any]:
    """Columns of ReferenceRow, but for the key."""
    sample = new.sample
    return {
        "tenant": home.tenant,
        "id": public_id,
        "gallery_key": home.key,
        "subject_key": subject_key,
        "image_sha256": new.image_sha256,
        "box": pack(sample.face.box),
        "landmarks": pack(sample.face.landmarks),
        "score": float(sample.face.score),
        "quality": asdict(sample.quality),
        "has_photograph": new.photograph is not None and home.keep_photographs,
        "created_at": created_at,
    }


def photograph_values(
    home: GalleryRow, key: int, public_id: str, new: NewReference, codec: VectorCodec
) -> dict[str, Any]:
    """Columns of PhotographRow, of a reference that has one."""
    assert new.photograph is not None
    return {
        "tenant": home.tenant,
        "reference_key": key,
        "content": codec.seal(new.photograph, public_id),
        "media_type": new.media_type or "application/octet-stream",
    }


def as_reference(
    row: ReferenceRow, owner: SubjectRow, template: TemplateRow | None, template_version: str, codec: VectorCodec
) -> Reference:
    """template: the reference's of ``template_version``, if it has one."""
    quality = Quality(**{**row.quality, "reasons": tuple(row.quality["reasons"])})
    face = Face(unpack(row.box, 4), unpack(row.landmarks, 5, 2), row.score)
    return Reference(
        key=row.key,
        id=row.id,
        subject=owner.id,
        display_name=owner.display_name,
        sample=Sample(face, quality, open_template(template, row.id, template_version, codec)),
        image_sha256=row.image_sha256,
        has_photograph=row.has_photograph,
        created_at=row.created_at,
    )
