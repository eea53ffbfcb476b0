"""Subjects: the people of a gallery, by the caller's own identifiers."""

from collections.abc import Mapping
from dataclasses import replace
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
from facesvc.storage.locker import Locker, Who, new_subject
from facesvc.storage.revisions import log_removed
from facesvc.storage.sealing import data_key_of, open_gallery, put, subject_names
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
        exists = SubjectExists(f"subject {subject!r} exists already in {gallery!r}")
        with self.writing(conflict=exists) as session:
            home = lock_gallery(session, self, gallery)
            remove_expired(session, self, home, subject)
            if seek_subject(session, self, home, subject):  # perhaps in the clear, which no constraint would tell
                raise exists
            row = insert_subject(session, self, home, Who(subject, display_name, metadata, retention.consent))
            row.expires_at = retention.expires_at
            session.flush()
            advance(session, home, subjects=1)
            return self._subject(row, gallery)

    def subject(self, gallery: str, subject: str) -> Subject:
        with self.reading() as session:
            home = find_gallery(session, self, gallery)
            return self._subject(find_subject(session, self, home, gallery, subject), gallery)

    def subjects(self, gallery: str, limit: int, cursor: str | None = None) -> Page[Subject]:
        require_limit(limit)
        with self.reading() as session:
            home = find_gallery(session, self, gallery)
            listing = f"subjects/{home.key}"
            query = select(SubjectRow).where(SubjectRow.gallery_key == home.key, living()).order_by(SubjectRow.id)
            if cursor is not None:
                query = query.where(SubjectRow.id > decode_cursor(listing, cursor, str))
            rows = session.scalars(query.limit(limit + 1)).all()
            found = tuple(self._subject(row, gallery) for row in rows[:limit])
        more = len(rows) > limit
        return Page(found, encode_cursor(listing, rows[limit - 1].id) if more else None)

    def update_subject(
        self,
        gallery: str,
        subject: str,
        *,
        display_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        retention: Retention = NO_LIMIT,
    ) -> Subject:
        given = {"display_name": display_name, "metadata": metadata, "consent": retention.consent}
        changed = {name: value for name, value in given.items() if value is not None}
        with self.writing() as session:
            row = find_subject(session, self, lock_gallery(session, self, gallery), gallery, subject)
            locker = locked_subject(session, self, row)
            put(row, locker.put_subject(replace(locker.subject(row), **changed)))
            row.expires_at = retention.expires_at or row.expires_at
            row.updated_at = datetime.now(UTC)
            session.flush()
            return self._subject(row, gallery)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        with self.writing() as session:
            home = lock_gallery(session, self, gallery)
            find_subject(session, self, home, gallery, subject).canary = canary

    def delete_subject(self, gallery: str, subject: str) -> list[Deleted]:
        with self.writing() as session:
            home = lock_gallery(session, self, gallery)
            row = find_subject(session, self, home, gallery, subject, expired=True)
            query = select(ReferenceRow.key, ReferenceRow.id, ReferenceRow.has_photograph)
            gone = [Deleted(*found) for found in session.execute(query.where(ReferenceRow.subject_key == row.key))]
            remove_subject(session, home, row)
        wipe_log(self.engine)
        return gone

    def expired(self, limit: int) -> list[tuple[str, str]]:
        query = (
            select(GalleryRow, SubjectRow)
            .join(GalleryRow, GalleryRow.key == SubjectRow.gallery_key)
            .where(SubjectRow.tenant == self.tenant, SubjectRow.expires_at <= datetime.now(UTC))
            .order_by(SubjectRow.expires_at)
        )
        with self.reading() as session:
            return [
                (open_gallery(self.codec, home).name, Locker.of(self.codec, row).subject(row).id)
                for home, row in session.execute(query.limit(limit))
            ]

    def _subject(self, row: SubjectRow, gallery: str) -> Subject:
        return as_subject(row, Locker.of(self.codec, row).subject(row), gallery)


def living() -> ColumnElement[bool]:
    """Of subjects that have not expired: the others answer no more, deleted or not."""
    return SubjectRow.expires_at.is_(None) | (SubjectRow.expires_at > datetime.now(UTC))


def remove_subject(session: Session, home: GalleryRow, row: SubjectRow) -> None:
    """Deletes a subject with all that is its own; the caller holds the gallery's lock."""
    all_of_it = ReferenceRow.subject_key == row.key
    gone = count_templates(session, all_of_it)
    revision = advance(session, home, subjects=-1, references=-row.references, templates=fewer(gone))
    log_removed(session, home, all_of_it, revision)
    session.execute(delete(SubjectRow).where(SubjectRow.key == row.key))  # the rest by ON DELETE CASCADE


def remove_expired(session: Session, rows: Transactions, home: GalleryRow, subject: str) -> None:
    """Makes place for a subject of the same id as one that has expired and was not deleted yet."""
    row = seek_subject(session, rows, home, subject, expired=True)
    if row is not None and row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        remove_subject(session, home, row)


def find_subject(
    session: Session, rows: Transactions, home: GalleryRow, gallery: str, subject: str, expired: bool = False
) -> SubjectRow:
    """gallery: the name of ``home``; expired: also where it is. Raises SubjectNotFound."""
    row = seek_subject(session, rows, home, subject, expired)
    if row is None:
        raise SubjectNotFound(f"no subject {subject!r} in gallery {gallery!r}")
    return row


def seek_subject(
    session: Session, rows: Transactions, home: GalleryRow, subject: str, expired: bool = False
) -> SubjectRow | None:
    names = subject_names(rows.codec, home.key, subject)
    query = select(SubjectRow).where(SubjectRow.gallery_key == home.key, SubjectRow.id.in_(names))
    return session.scalar(query if expired else query.where(living()))


def insert_subject(session: Session, rows: Transactions, home: GalleryRow, who: Who) -> SubjectRow:
    """A new subject without references; the caller holds the gallery's lock and counts it."""
    now = datetime.now(UTC)
    columns = new_subject(rows.codec, data_key_of(session, rows), home.key, who)
    row = SubjectRow(tenant=home.tenant, gallery_key=home.key, created_at=now, updated_at=now, **columns)
    session.add(row)
    session.flush()
    return row


def locked_subject(session: Session, rows: Transactions, row: SubjectRow) -> Locker:
    """What a subject's belongings are put away with. One that was stored in the clear is sealed first."""
    if rows.codec.sealing and row.sealed_key is None:
        who = Locker.of(rows.codec, row).subject(row)
        put(row, new_subject(rows.codec, data_key_of(session, rows), row.gallery_key, who))
        session.flush()
    return Locker.of(rows.codec, row)


def as_subject(row: SubjectRow, who: Who, gallery: str) -> Subject:
    return Subject(
        id=who.id,
        gallery=gallery,
        display_name=who.display_name,
        metadata=who.metadata,
        references=row.references,
        created_at=row.created_at,
        updated_at=row.updated_at,
        consent=who.consent,
        expires_at=row.expires_at,
    )
