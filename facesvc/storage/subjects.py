"""Subjects: the people of a gallery, by the caller's own identifiers."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from facesvc.core.erasure import Deleted, Expired
from facesvc.core.types import NewSubject, Page, Subject, SubjectChange
from facesvc.errors import SealBroken, SubjectExists, SubjectNotFound
from facesvc.storage.engine import wipe_log
from facesvc.storage.galleries import advance, find_gallery, lock_gallery
from facesvc.storage.keys import latest_data_key
from facesvc.storage.revisions import log_removed
from facesvc.storage.sealing import (
    SealedRows,
    SubjectCipher,
    SubjectDetails,
    new_subject,
    open_gallery,
    subject_token,
)
from facesvc.storage.tables import GalleryRow, ReferenceRow, SubjectRow
from facesvc.storage.templates import count_templates, fewer
from facesvc.storage.transactions import read_page


class Subjects:
    """The subjects of one tenant's galleries. Raises StoreUnavailable."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def create(self, gallery: str, new: NewSubject) -> Subject:
        """Create a subject. Raises GalleryNotFound, and SubjectExists, also for a subject that has expired and was
        not deleted yet."""
        exists = SubjectExists(f"subject {new.id!r} exists already in {gallery!r}")
        with self._rows.writing(conflict=exists) as session:
            home = lock_gallery(session, self._rows, gallery)
            details = SubjectDetails(new.id, new.display_name, new.metadata, new.retention.consent)
            row = insert_subject(session, self._rows, home, details)
            row.expires_at = new.retention.expires_at
            session.flush()
            advance(session, home, subjects=1)
            return self._subject(row, gallery)

    def get(self, gallery: str, subject: str) -> Subject:
        """Return a subject that has not expired. Raises GalleryNotFound, SubjectNotFound."""
        with self._rows.reading() as session:
            home = find_gallery(session, self._rows, gallery)
            return self._subject(find_subject(session, self._rows, home, gallery, subject), gallery)

    def list(self, gallery: str, limit: int, cursor: str | None = None) -> Page[Subject]:
        """Return a page of subjects, in an order that says nothing of their ids. Raises GalleryNotFound,
        InvalidCursor."""
        with self._rows.reading() as session:
            home = find_gallery(session, self._rows, gallery)
            query = select(SubjectRow).where(SubjectRow.gallery_key == home.key, living())
            rows, following = read_page(session, query, SubjectRow.id, f"subjects/{home.key}", limit, cursor)
            return Page(tuple(self._subject(row, gallery) for (row,) in rows), following)

    def update(self, gallery: str, subject: str, change: SubjectChange) -> Subject:
        """Change what ``change`` names. Raises GalleryNotFound, SubjectNotFound."""
        retention = change.retention
        given = {"display_name": change.display_name, "metadata": change.metadata, "consent": retention.consent}
        changed = {name: value for name, value in given.items() if value is not None}
        with self._rows.writing() as session:
            row = find_subject(session, self._rows, lock_gallery(session, self._rows, gallery), gallery, subject)
            cipher = SubjectCipher.of(self._rows.codec, row)
            row.sealed = cipher.seal_subject(replace(cipher.open_subject(row), **changed))
            row.expires_at = retention.expires_at or row.expires_at
            row.updated_at = datetime.now(UTC)
            session.flush()
            return self._subject(row, gallery)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        """Set whether a match of the subject raises an alarm; see ``service.disclosure``. Raises GalleryNotFound,
        SubjectNotFound."""
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            row = find_subject(session, self._rows, home, gallery, subject)
            cipher = SubjectCipher.of(self._rows.codec, row)
            row.sealed = cipher.seal_subject(replace(cipher.open_subject(row), canary=int(canary)))

    def delete(self, gallery: str, subject: str) -> None:
        """Delete a subject, also one that has expired. Raises GalleryNotFound, SubjectNotFound."""
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            row = find_subject(session, self._rows, home, gallery, subject, expired=True)
            remove_subject(session, home, row.key, row.references)
        wipe_log(self._rows.engine)

    def expired(self, limit: int) -> Sequence[Expired]:
        """Return subjects that have expired and are to be deleted, the longest expired first."""
        query = select(GalleryRow, SubjectRow).join(GalleryRow, GalleryRow.key == SubjectRow.gallery_key)
        query = query.where(SubjectRow.tenant == self._rows.tenant, ended()).order_by(SubjectRow.expires_at)
        with self._rows.reading() as session:
            return [self._expired(home, row) for home, row in session.execute(query.limit(limit))]

    def find_expired(self, gallery: str, subject: str) -> Expired | None:
        """Return the subject of this id where it has expired and was not deleted yet. Raises GalleryNotFound."""
        with self._rows.reading() as session:
            row = seek_subject(session, self._rows, find_gallery(session, self._rows, gallery), subject, expired=True)
            return Expired(row.key, gallery, subject) if row is not None and has_ended(row) else None

    def delete_expired(self, key: int) -> Sequence[Deleted]:
        """Delete an expired subject by the key of its row, without opening anything; return its references. Raises
        SubjectNotFound where it is gone."""
        which = (SubjectRow.key == key, SubjectRow.tenant == self._rows.tenant, ended())
        of_it = select(SubjectRow.gallery_key).where(*which).scalar_subquery()
        with self._rows.writing() as session:
            home = session.scalar(select(GalleryRow).where(GalleryRow.key == of_it).with_for_update())
            references = session.scalar(select(SubjectRow.references).where(*which))
            if home is None or references is None:
                raise SubjectNotFound("the subject is gone")
            gone = remove_subject(session, home, key, references)
        wipe_log(self._rows.engine)
        return gone

    def _expired(self, home: GalleryRow, row: SubjectRow) -> Expired:
        gallery = subject = None
        with suppress(SealBroken):  # what can't be read can be deleted all the same
            gallery = open_gallery(self._rows.codec, home).name
            subject = SubjectCipher.of(self._rows.codec, row).open_subject(row).id
        return Expired(row.key, gallery, subject)

    def _subject(self, row: SubjectRow, gallery: str) -> Subject:
        return as_subject(row, SubjectCipher.of(self._rows.codec, row).open_subject(row), gallery)


def living() -> ColumnElement[bool]:
    """Of subjects that have not expired: the others answer no more, deleted or not."""
    return SubjectRow.expires_at.is_(None) | (SubjectRow.expires_at > datetime.now(UTC))


def ended() -> ColumnElement[bool]:
    """The others."""
    return SubjectRow.expires_at <= datetime.now(UTC)


def has_ended(row: SubjectRow) -> bool:
    return row.expires_at is not None and row.expires_at <= datetime.now(UTC)


def require_living(name: str, row: SubjectRow) -> None:
    """Raises SubjectExists for one that has expired: what were added to it would go with it."""
    if has_ended(row):
        raise SubjectExists(f"subject {name!r} has expired, and is still to be erased")


def remove_subject(session: Session, home: GalleryRow, key: int, references: int) -> list[Deleted]:
    """Deletes a subject, by its key and the number of its references, with all that is its own; the references that
    went. The caller holds the gallery's lock."""
    all_of_it = ReferenceRow.subject_key == key
    query = select(ReferenceRow.key, ReferenceRow.id, ReferenceRow.has_photograph).where(all_of_it)
    gone = [Deleted(*found) for found in session.execute(query.order_by(ReferenceRow.key))]
    templates = fewer(count_templates(session, all_of_it))
    revision = advance(session, home, subjects=-1, references=-references, templates=templates)
    log_removed(session, home, all_of_it, revision)
    session.execute(delete(SubjectRow).where(SubjectRow.key == key))  # the rest by ON DELETE CASCADE
    return gone


def find_subject(
    session: Session, rows: SealedRows, home: GalleryRow, gallery: str, subject: str, expired: bool = False
) -> SubjectRow:
    """gallery: the name of ``home``; expired: also where it is. Raises SubjectNotFound."""
    row = seek_subject(session, rows, home, subject, expired)
    if row is None:
        raise SubjectNotFound(f"no subject {subject!r} in gallery {gallery!r}")
    return row


def seek_subject(
    session: Session, rows: SealedRows, home: GalleryRow, subject: str, expired: bool = False
) -> SubjectRow | None:
    token = subject_token(rows.codec, home.key, subject)
    query = select(SubjectRow).where(SubjectRow.gallery_key == home.key, SubjectRow.id == token)
    return session.scalar(query if expired else query.where(living()))


def insert_subject(session: Session, rows: SealedRows, home: GalleryRow, details: SubjectDetails) -> SubjectRow:
    """Insert a subject without references; the caller holds the gallery's lock and counts it."""
    now = datetime.now(UTC)
    columns = new_subject(rows.codec, latest_data_key(session, rows.tenant), home.key, details)
    row = SubjectRow(tenant=home.tenant, gallery_key=home.key, created_at=now, updated_at=now, **columns)
    session.add(row)
    session.flush()
    return row


def as_subject(row: SubjectRow, details: SubjectDetails, gallery: str) -> Subject:
    return Subject(
        id=details.id,
        gallery=gallery,
        display_name=details.display_name,
        metadata=details.metadata,
        references=row.references,
        created_at=row.created_at,
        updated_at=row.updated_at,
        consent=details.consent,
        expires_at=row.expires_at,
        key=row.key,
    )
