"""Galleries: names, template versions, counts and revisions."""

from collections import Counter
from datetime import UTC, datetime

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from facesvc.core.types import Gallery, GalleryChange, NewGallery, Page, Shadow, ShadowState
from facesvc.crypto.codec import Codec
from facesvc.errors import GalleryExists, GalleryNotFound
from facesvc.storage.engine import wipe_log
from facesvc.storage.sealing import GalleryDetails, SealedRows, gallery_columns, gallery_token, open_gallery, put
from facesvc.storage.tables import GalleryRow, PhotographRow, ReferenceRow
from facesvc.storage.templates import held_versions
from facesvc.storage.transactions import EVERY_TENANT, Transactions, read_page


class Galleries:
    """The galleries of one tenant. Raises StoreUnavailable."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def create(self, new: NewGallery, template_version: str) -> Gallery:
        """Create a gallery of this template version. Raises GalleryExists."""
        with self._rows.writing(conflict=GalleryExists(f"gallery {new.name!r} exists already")) as session:
            row = GalleryRow(
                tenant=self._rows.tenant,
                template_version=template_version,
                keep_photographs=new.keep_photographs,
                created_at=datetime.now(UTC),
                **gallery_columns(session, self._rows, GalleryDetails(new.name, new.metadata)),
            )
            session.add(row)
            session.flush()
            return as_gallery(self._rows.codec, row)

    def get(self, name: str) -> Gallery:
        """Return the gallery of this name. Raises GalleryNotFound."""
        with self._rows.reading() as session:
            return as_gallery(self._rows.codec, find_gallery(session, self._rows, name))

    def list(self, limit: int, cursor: str | None = None) -> Page[Gallery]:
        """Return a page of galleries, in an order that says nothing of their names. Raises InvalidCursor."""
        query = select(GalleryRow).where(GalleryRow.tenant == self._rows.tenant)
        if self._rows.seen is not None:
            names = [gallery_token(self._rows.codec, name) for name in sorted(self._rows.seen)]
            query = query.where(GalleryRow.name.in_(names))
        with self._rows.reading() as session:
            rows, following = read_page(session, query, GalleryRow.name, "galleries", limit, cursor)
            return Page(tuple(as_gallery(self._rows.codec, row) for (row,) in rows), following)

    def held_versions(self) -> set[str]:
        """Return the template versions of all galleries, see ``core.types.Gallery.versions``."""
        return versions_of_galleries(self._rows)

    def update(self, name: str, change: GalleryChange) -> Gallery:
        """Change what ``change`` names. Photographs that are stored are deleted when they are to be kept no longer.
        Raises GalleryNotFound."""
        with self._rows.writing() as session:
            row = lock_gallery(session, self._rows, name)
            if change.metadata is not None:
                put(row, gallery_columns(session, self._rows, GalleryDetails(name, change.metadata)))
            if change.keep_photographs is not None:
                row.keep_photographs = change.keep_photographs
            if change.keep_photographs is False:
                _delete_photographs(session, row.key)
            session.flush()
            updated = as_gallery(self._rows.codec, row)
        if change.keep_photographs is False:
            wipe_log(self._rows.engine)
        return updated

    def delete(self, name: str) -> None:
        """Delete a gallery with all that belongs to it. Raises GalleryNotFound."""
        with self._rows.writing() as session:
            row = lock_gallery(session, self._rows, name)
            session.execute(delete(GalleryRow).where(GalleryRow.key == row.key))  # the rest by ON DELETE CASCADE
        wipe_log(self._rows.engine)


def versions_of_galleries(rows: Transactions) -> set[str]:
    """Return the template versions that galleries hold: those of one tenant, or of every tenant."""
    query = select(GalleryRow)
    if rows.tenant != EVERY_TENANT:
        query = query.where(GalleryRow.tenant == rows.tenant)
    with rows.reading() as session:
        return {version for row in session.scalars(query) for version in held_versions(row)}


def find_gallery(session: Session, rows: SealedRows, name: str) -> GalleryRow:
    """Raises GalleryNotFound."""
    return _only(session.scalar(_named(rows, name)), name)


def lock_gallery(session: Session, rows: SealedRows, name: str) -> GalleryRow:
    """The gallery's row, no one else's to write until the transaction ends. Every write to a gallery's subjects
    or references takes this lock first, so writes to a gallery form one line and can't deadlock.

    Raises GalleryNotFound.
    """
    # SQLite ignores FOR UPDATE: its transaction holds the whole database already
    return _only(session.scalar(_named(rows, name).with_for_update()), name)


def _named(rows: SealedRows, name: str) -> Select[GalleryRow]:
    """One that is not to be seen is looked for like one that is not there."""
    token = gallery_token(rows.codec, name if rows.sees(name) else "")  # no gallery is called ""
    return select(GalleryRow).where(GalleryRow.tenant == rows.tenant, GalleryRow.name == token)


def _only(row: GalleryRow | None, name: str) -> GalleryRow:
    if row is None:
        raise GalleryNotFound(f"no gallery {name!r}")
    return row


def advance(
    session: Session,
    gallery: GalleryRow,
    *,
    subjects: int = 0,
    references: int = 0,
    templates: Counter[str] | None = None,
) -> int:
    """Counts the changes, of templates by their version, and returns the gallery's new revision. The row's lock makes
    revisions gapless and visible in their order."""
    changed = templates or Counter()
    statement = (
        update(GalleryRow)
        .where(GalleryRow.key == gallery.key)
        .values(
            revision=GalleryRow.revision + 1,
            subjects=GalleryRow.subjects + subjects,
            references=GalleryRow.references + references,
            templates=GalleryRow.templates + changed[gallery.template_version],
            shadow_templates=GalleryRow.shadow_templates + changed[gallery.shadow_version or ""],
        )
        .returning(GalleryRow.revision)
    )
    return session.execute(statement).scalar_one()


def as_gallery(codec: Codec, row: GalleryRow) -> Gallery:
    details = open_gallery(codec, row)
    return Gallery(
        key=row.key,
        name=details.name,
        template_version=row.template_version,
        keep_photographs=row.keep_photographs,
        revision=row.revision,
        subjects=row.subjects,
        references=row.references,
        metadata=details.metadata,
        created_at=row.created_at,
        templates=row.templates,
        shadow=_shadow(row),
        issue=row.issue,
    )


def _shadow(row: GalleryRow) -> Shadow | None:
    if row.shadow_version is None or row.shadow_state is None:
        return None
    return Shadow(row.shadow_version, ShadowState(row.shadow_state), row.shadow_templates)


def _delete_photographs(session: Session, gallery_key: int) -> None:
    owned = select(ReferenceRow.key).where(ReferenceRow.gallery_key == gallery_key)
    unseen = {"synchronize_session": False}  # none of these rows is in the session
    session.execute(delete(PhotographRow).where(PhotographRow.reference_key.in_(owned)).execution_options(**unseen))
    session.execute(
        update(ReferenceRow)
        .where(ReferenceRow.gallery_key == gallery_key, ReferenceRow.has_photograph)
        .values(has_photograph=False)
        .execution_options(**unseen)
    )
