"""A reference in columns: what a row is made of, and what is made of a row."""

import secrets
from datetime import datetime
from typing import Any

from facesvc.core.types import NewReference, Photograph, Reference, Sample
from facesvc.storage.locker import Locker, Lockers
from facesvc.storage.tables import GalleryRow, ReferenceRow, SubjectRow, TemplateRow
from facesvc.storage.templates import open_template


def new_id() -> str:
    """A reference's public id, 104 bits of chance."""
    return f"ref_{secrets.token_hex(13)}"


def reference_values(
    home: GalleryRow, subject_key: int, locker: Locker, public_id: str, new: NewReference, created_at: datetime
) -> dict[str, Any]:
    """Columns of ReferenceRow, but for the key."""
    return {
        "tenant": home.tenant,
        "id": public_id,
        "gallery_key": home.key,
        "subject_key": subject_key,
        "has_photograph": new.photograph is not None and home.keep_photographs,
        "created_at": created_at,
        **locker.put_reference(public_id, new),
    }


def photograph_values(home: GalleryRow, key: int, locker: Locker, public_id: str, new: NewReference) -> dict[str, Any]:
    """Columns of PhotographRow, of a reference that has one."""
    assert new.photograph is not None
    photograph = Photograph(new.photograph, new.media_type or "application/octet-stream")
    return {"tenant": home.tenant, "reference_key": key, **locker.put_photograph(public_id, photograph)}


def as_reference(
    row: ReferenceRow, owner: SubjectRow, template: TemplateRow | None, template_version: str, lockers: Lockers
) -> Reference:
    """template: the reference's of ``template_version``, if it has one."""
    locker, who = lockers.of(owner), lockers.who(owner)
    seen = locker.reference(row)
    return Reference(
        key=row.key,
        id=row.id,
        subject=who.id,
        display_name=who.display_name,
        sample=Sample(seen.face, seen.quality, open_template(template, row.id, template_version, locker)),
        image_sha256=seen.image_sha256,
        has_photograph=row.has_photograph,
        created_at=row.created_at,
    )
