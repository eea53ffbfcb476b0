"""Subjects: the people of a gallery, by the caller's own identifiers."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from facesvc.core.erasure import Deleted
from facesvc.core.retention import NO_LIMIT, Retention
from facesvc.core.types import Page, Subject
from facesvc.errors import SubjectExists, SubjectNotFound
from facesvc.storage.cursors import decode_cursor, encode_cursor
from facesvc.storage.engine import wipe_log
from facesvc.storage.galleries import advance, find_gallery, lock_gallery
from facesvc.storage.revisions import log_removed
from facesvc.storage.tables import GalleryRow, ReferenceRow, SubjectRow
from facesvc.storage.templates import count_templates, fewer
from facesvc.storage.transactions import Transactions, require_limit


class Subjects(Transactions):
    """The subjects of one tenant's galleries; see core.ports.ReferenceStore."""

    def create_subject(
        self,
        gallery: str,
        subject: str,
        display_name: str | None,
        metadata: Mapping[str, Any],
        retention: Retention = NO_LIMIT,
    ) -> Subject:
        with self.writing(conflict=SubjectExists(f"subject {subject!r} exists already in {gallery!r}")) as session:
            home = lock_gallery(session, self, gallery)
            remove_expired(session, home, subject)
            row = insert_subject(session, home, subject, display_name, metadata)
            retain(row, retention)
            session.flush()
            advance(session, home, subjects=1)
            return as_subject(row, gallery)

    def subject(self, gallery: str, subject: str) -> Subject:
        with self.reading() as session:
            home = find_gallery(session, self, gallery)
            return as_subject(find_subject(session, home, subject), gallery)

    def subjects(self, gallery: str, limit: int, cursor: str | None = None) -> Page[Subject]:
        require_limit(limit)
        with self.reading() as session:
            home = find_gallery(session, self, gallery)
            listing = f"subjects/{home.key}"
            query = select(SubjectRow).where(SubjectRow.gallery_key == home.key, living()).order_by(SubjectRow.id)
            if cursor is not None:
                query = query.where(SubjectRow.id > decode_cursor(listing, cursor, str))
            found = [as_subject(row, gallery) for row in session.scalars(query.limit(limit + 1))]
        more = len(found) > limit
        return Page(tuple(found[:limit]), encode_cursor(listing, found[limit - 1].id) if more else None)

    def update_subject(
        self,
        gallery: str,
        subject: str,
        *,
        display_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        retention: Retention = NO_LIMIT,
    ) -> Subject:
        with self.writing() as session:
            row = find_subject(session, lock_gallery(session, self, gallery), subject)
            if display_name is not None:
                row.display_name = display_name
            if metadata is not None:
                row.details = dict(metadata)
            retain(row, retention)
            row.updated_at = datetime.now(UTC)
            session.flush()
            return as_subject(row, gallery)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        with self.writing() as session:
            find_subject(session, lock_gallery(session, self, gallery), subject).canary = canary

    def delete_subject(self, gallery: str, subject: str) -> list[Deleted]:
        with self.writing() as session:
            home = lock_gallery(session, self, gallery)
            row = find_subject(session, home, subject, expired=True)
            query = select(ReferenceRow.key, ReferenceRow.id, ReferenceRow.has_photograph)
            gone = [Deleted(*found) for found in session.execute(query.where(ReferenceRow.subject_key == row.key))]
            remove_subject(session, home, row)
        wipe_log(self.engine)
        return gone

    def expired(self, limit: int) -> list[tuple[str, str]]:
        query = (
            select(GalleryRow.name, SubjectRow.id)
            .join(GalleryRow, GalleryRow.key == SubjectRow.gallery_key)
            .where(SubjectRow.tenant == self.tenant, SubjectRow.expires_at <= datetime.now(UTC))
            .order_by(SubjectRow.expires_at)
        )
        with self.reading() as session:
            return [(gallery, subject) for gallery, subject in session.execute(query.limit(limit))]


def living() -> ColumnElement[bool]:
    """Of subjects that have not expired: the others answer no more, deleted or not."""
    return SubjectRow.expires_at.is_(None) | (SubjectRow.expires_at > datetime.now(UTC))


def retain(row: SubjectRow, retention: Retention) -> None:
    if retention.consent is not None:
        row.consent = retention.consent
    if retention.expires_at is not None:
        row.expires_at = retention.expires_at


def remove_subject(session: Session, home: GalleryRow, row: SubjectRow) -> None:
    """Deletes a subject with all that is its own; the caller holds the gallery's lock."""
    all_of_it = ReferenceRow.subject_key == row.key
    gone = count_templates(session, all_of_it)
    revision = advance(session, home, subjects=-1, references=-row.references, templates=fewer(gone))
    log_removed(session, home, all_of_it, revision)
    session.execute(delete(SubjectRow).where(SubjectRow.key == row.key))  # the rest by ON DELETE CASCADE


def remove_expired(session: Session, home: GalleryRow, subject: str) -> None:
    """Makes place for a subject of the same id as one that has expired and was not deleted yet."""
    with suppress(SubjectNotFound):
        row = find_subject(session, home, subject, expired=True)
        if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
            remove_subject(session, home, row)


def find_subject(session: Session, gallery: GalleryRow, subject: str, expired: bool = False) -> SubjectRow:
    """expired: also where it is. Raises SubjectNotFound."""
    query = select(SubjectRow).where(SubjectRow.gallery_key == gallery.key, SubjectRow.id == subject)
    row = session.scalar(query if expired else query.where(living()))
    if row is None:
        raise SubjectNotFound(f"no subject {subject!r} in gallery {gallery.name!r}")
    return row


def insert_subject(
    session: Session, gallery: GalleryRow, subject: str, display_name: str | None, metadata: Mapping[str, Any]
) -> SubjectRow:
    """A new subject without references; the caller holds the gallery's lock and counts it."""
    now = datetime.now(UTC)
    row = SubjectRow(
        tenant=gallery.tenant,
        gallery_key=gallery.key,
        id=subject,
        display_name=display_name,
        details=dict(metadata),
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    return row


def as_subject(row: SubjectRow, gallery: str) -> Subject:
    return Subject(
        id=row.id,
        gallery=gallery,
        display_name=row.display_name,
        metadata=row.details,
        references=row.references,
        created_at=row.created_at,
        updated_at=row.updated_at,
        consent=row.consent,
        expires_at=row.expires_at,
    )
