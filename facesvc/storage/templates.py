"""Templates: the vectors of a reference, one for each version that its gallery holds.

A reference in columns: what a row is made of, and what is made of a row.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.orm import Session

from facesvc.core.compare import require_version
from facesvc.core.types import DIMENSION, NewReference, Photograph, Reference, Sample, ShadowState, Template
from facesvc.errors import StoreError, TemplateVersionMismatch
from facesvc.storage.sealing import SubjectCipher, SubjectCiphers
from facesvc.storage.tables import FailureRow, GalleryRow, ReferenceRow, SubjectRow, TemplateRow

Owned = tuple[int, str, SubjectCipher, Template]
"""Key and public id of a reference, the cipher of its subject, and a template of the reference."""


def held_versions(home: GalleryRow) -> tuple[str, ...]:
    """As ``core.types.Gallery.versions``."""
    if home.shadow_version is None or home.shadow_state == ShadowState.LEAVING:
        return (home.template_version,)
    return home.template_version, home.shadow_version


def require_templates(home: GalleryRow, new: Iterable[NewReference], versions: Sequence[str] | None = None) -> None:
    """Raises TemplateVersionMismatch unless each reference has a template of the version that answers; versions: of
    those that the caller made, among which all of the gallery's must be. Raises StoreError for a template that is
    not (128,) finite numbers."""
    for held in held_versions(home):
        if versions is not None and held not in versions:
            raise TemplateVersionMismatch(f"the gallery has come to hold template version {held}")
    for reference in new:
        if home.template_version not in {template.version for template in reference.templates}:
            require_version(reference.sample.template.version, home.template_version)


def require_vector(template: Template) -> None:
    if template.vector.shape != (DIMENSION,) or not np.isfinite(template.vector).all():
        raise StoreError(f"a template has shape {template.vector.shape} or values that are not numbers")


def insert_templates(session: Session, home: GalleryRow, new: Iterable[Owned], revision: int) -> None:
    """Stores templates as of the write ``revision``, and forgets why there were none."""
    rows = [
        {
            "tenant": home.tenant,
            "reference_key": key,
            "template_version": template.version,
            "gallery_key": home.key,
            "revision": revision,
            "vector": cipher.seal_vector(public_id, template.version, template.vector),
        }
        for key, public_id, cipher, template in new
    ]
    if rows:
        session.execute(insert(TemplateRow), rows)
        keys = [row["reference_key"] for row in rows]
        session.execute(
            delete(FailureRow)
            .where(
                FailureRow.reference_key.in_(keys),
                FailureRow.template_version.in_({r["template_version"] for r in rows}),
            )
            .execution_options(synchronize_session=False)
        )


def known_versions(session: Session, keys: Sequence[int]) -> set[tuple[int, str]]:
    """Key and version of every template of these references."""
    query = select(TemplateRow.reference_key, TemplateRow.template_version).where(TemplateRow.reference_key.in_(keys))
    return {(key, version) for key, version in session.execute(query)}


def count_templates(session: Session, which: ColumnElement[bool]) -> Counter[str]:
    """By version: those of the references that ``which`` chooses."""
    query = select(TemplateRow.template_version, func.count()).join(
        ReferenceRow, ReferenceRow.key == TemplateRow.reference_key
    )
    rows = session.execute(query.where(which).group_by(TemplateRow.template_version))
    return Counter(dict(iter(rows)))


def fewer(templates: Counter[str]) -> Counter[str]:
    """Counts for ``galleries.advance`` of templates that go."""
    return Counter({version: -count for version, count in templates.items()})


def open_template(row: TemplateRow | None, public_id: str, template_version: str, cipher: SubjectCipher) -> Template:
    """The stored template; an empty one, (0,), where the reference has none of this version."""
    if row is None:
        return Template(np.empty(0, np.float32), template_version)
    return Template(cipher.open_vector(public_id, row.template_version, row.vector), row.template_version)


def new_id() -> str:
    """A reference's public id, 104 bits of chance."""
    return f"ref_{secrets.token_hex(13)}"


def reference_values(
    home: GalleryRow,
    subject_key: int,
    cipher: SubjectCipher,
    public_id: str,
    identity: str,
    new: NewReference,
    created_at: datetime,
) -> dict[str, Any]:
    """Return the columns of a new ReferenceRow, but for its key. identity: as ``SubjectCipher.identity`` made it."""
    return {
        "tenant": home.tenant,
        "id": public_id,
        "gallery_key": home.key,
        "subject_key": subject_key,
        "has_photograph": new.photograph is not None and home.keep_photographs,
        "created_at": created_at,
        "identity": identity,
        "sealed": cipher.seal_reference(public_id, new),
    }


def photograph_values(
    home: GalleryRow, key: int, cipher: SubjectCipher, public_id: str, new: NewReference
) -> dict[str, Any]:
    """Return the columns of a new PhotographRow. key, public_id: of its reference; new: has a photograph."""
    assert new.photograph is not None
    photograph = Photograph(new.photograph, new.media_type or "application/octet-stream")
    return {"tenant": home.tenant, "reference_key": key, "content": cipher.seal_photograph(public_id, photograph)}


def as_reference(
    row: ReferenceRow, owner: SubjectRow, template: TemplateRow | None, template_version: str, ciphers: SubjectCiphers
) -> Reference:
    """Open a reference. template: the reference's of ``template_version``, if it has one."""
    cipher, subject = ciphers.of(owner), ciphers.details(owner)
    opened = cipher.open_reference(row)
    return Reference(
        key=row.key,
        id=row.id,
        subject=subject.id,
        display_name=subject.display_name,
        sample=Sample(opened.face, opened.quality, open_template(template, row.id, template_version, cipher)),
        image_sha256=opened.image_sha256,
        has_photograph=row.has_photograph,
        created_at=row.created_at,
    )
