"""Subjects: the people of a gallery, by the caller's own identifiers."""

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
from facesvc.storage.revisions import log_removed
from facesvc.storage.sealing import Locker, Who, data_key_of, new_subject, open_gallery, put, subject_names
from facesvc.storage.tables import GalleryRow, ReferenceRow, SubjectRow
from facesvc.storage.templates import count_templates, fewer
from facesvc.storage.transactions import Transactions, decode_cursor, encode_cursor, require_limit


class Subjects(Transactions):
    """The subjects of one tenant's galleries; see core.ports.ReferenceStore."""

    def create_subject(self, gallery: str, new: NewSubject) -> Subject:
        exists = SubjectExists(f"subject {new.id!r} exists already in {gallery!r}")
        with self.writing(conflict=exists) as session:
            home = lock_gallery(session, self, gallery)
            if seek_subject(session, self, home, new.id, expired=True):  # perhaps in the clear: no constraint tells
                raise exists
            who = Who(new.id, new.display_name, new.metadata, new.retention.consent)
            row = insert_subject(session, self, home, who)
            row.expires_at = new.retention.expires_at
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

    def update_subject(self, gallery: str, subject: str, change: SubjectChange) -> Subject:
        retention = change.retention
        given = {"display_name": change.display_name, "metadata": change.metadata, "consent": retention.consent}
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
            row = find_subject(session, self, home, gallery, subject)
            locker = locked_subject(session, self, row)
            put(row, locker.put_subject(replace(locker.subject(row), canary=int(canary))))

    def delete_subject(self, gallery: str, subject: str) -> None:
        with self.writing() as session:
            home = lock_gallery(session, self, gallery)
            row = find_subject(session, self, home, gallery, subject, expired=True)
            remove_subject(session, home, row.key, row.references)
        wipe_log(self.engine)

    def expired(self, limit: int) -> list[Expired]:
        query = select(GalleryRow, SubjectRow).join(GalleryRow, GalleryRow.key == SubjectRow.gallery_key)
        query = query.where(SubjectRow.tenant == self.tenant, ended()).order_by(SubjectRow.expires_at)
        with self.reading() as session:
            return [self._expired(home, row) for home, row in session.execute(query.limit(limit))]

    def expired_subject(self, gallery: str, subject: str) -> Expired | None:
        with self.reading() as session:
            row = seek_subject(session, self, find_gallery(session, self, gallery), subject, expired=True)
            return Expired(row.key, gallery, subject) if row is not None and has_ended(row) else None

    def delete_expired(self, key: int) -> list[Deleted]:
        which = (SubjectRow.key == key, SubjectRow.tenant == self.tenant, ended())
        of_it = select(SubjectRow.gallery_key).where(*which).scalar_subquery()
        with self.writing() as session:
            home = session.scalar(select(GalleryRow).where(GalleryRow.key == of_it).with_for_update())
            references = session.scalar(select(SubjectRow.references).where(*which))
            if home is None or references is None:
                raise SubjectNotFound("the subject is gone")
            gone = remove_subject(session, home, key, references)
        wipe_log(self.engine)
        return gone

    def _expired(self, home: GalleryRow, row: SubjectRow) -> Expired:
        gallery = subject = None
        with suppress(SealBroken):  # what can't be read can be deleted all the same
            gallery = open_gallery(self.codec, home).name
            subject = Locker.of(self.codec, row).subject(row).id
        return Expired(row.key, gallery, subject)

    def _subject(self, row: SubjectRow, gallery: str) -> Subject:
        return as_subject(row, Locker.of(self.codec, row).subject(row), gallery)


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
        key=row.key,
    )
