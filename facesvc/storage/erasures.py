"""Erasures, from their deletion on until nobody asks for their receipts any more: what a repeated request resumes.

A row holds no name: an id that is asked for is compared by its token. What else is in it (keys, references' public
ids, API keys' ids, moments) leads nowhere once the subject is gone, so it is not sealed. The
signature is none of it, for whoever has that and the public key could tell a guessed name from others.

What should not be in the database: rows whose owner is gone, and what has lapsed. Foreign keys see to it
that there is none; a copy that was made or mended by other means may have it all the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, delete, func, literal, select
from sqlalchemy.orm import Session

from facesvc.core.erasure import Deleted, Erasure
from facesvc.errors import SubjectNotFound
from facesvc.storage.engine import wipe_log
from facesvc.storage.galleries import lock_gallery
from facesvc.storage.sealing import SealedRows, text_token
from facesvc.storage.subjects import remove_subject, seek_subject
from facesvc.storage.tables import AnswerRow, ErasureRow, GalleryRow, SubjectRow
from facesvc.storage.tables import Table as Base
from facesvc.storage.transactions import BATCH, Transactions

RESUMED = timedelta(days=30)
"""Time for which an erasure that is under way can be asked for again: the month in which a person who asks for it is
to be told what was done (GDPR, article 12, paragraph 3). Indexes have followed long before."""
KEPT = timedelta(hours=24)
"""Time for which a receipt is given again."""


class Erasures:
    """The erasures of one tenant. Raises StoreUnavailable."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def begin(self, gallery: str, subject: str) -> Erasure:
        """Delete the subject, also one that has expired, and note that its erasure is under way. Where one is
        already, the two are one from then on. For a subject that is gone, return the erasure that was begun and has
        not lapsed. Raises GalleryNotFound, SubjectNotFound."""
        with self._rows.writing() as session:
            home = lock_gallery(session, self._rows, gallery)
            row, there = (
                self._known(session, home, subject),
                seek_subject(session, self._rows, home, subject, expired=True),
            )
            if there is not None:
                row = self._begun(session, home, there, subject, row)
            if row is None or row.expires_at <= datetime.now(UTC):
                raise SubjectNotFound(f"no subject {subject!r} in gallery {gallery!r}")
            erasure = _erasure(row)
        wipe_log(self._rows.engine)
        return erasure

    def remaining(self, erasure: Erasure) -> int:
        """Count the rows of any kind that are left of what the erasure deleted.

        Looks into each table by its own columns: a row whose owner is gone is found as well as any other."""
        keys = {"subjects": erasure.subjects, "face_references": [deleted.key for deleted in erasure.references]}
        found: set[tuple[object, ...]] = set()
        with self._rows.reading() as session:
            for owner, wanted in keys.items():
                for column in _naming(owner):
                    found.update(self._found(session, column, wanted))
        return len(found)

    def finish(self, erasure: Erasure, statement: Mapping[str, Any]) -> Mapping[str, Any]:
        """Store the statement of the receipt for a while. Return the one that is in force: where another request
        finished the same erasure before, that one's."""
        query = select(ErasureRow).where(ErasureRow.key == erasure.key, ErasureRow.tenant == self._rows.tenant)
        with self._rows.writing() as session:
            row = session.scalar(query.with_for_update())
            if row is None:  # it is part of a later one, or went with its gallery
                return statement
            if row.statement is None:
                row.statement, row.expires_at = dict(statement), datetime.now(UTC) + KEPT
            return row.statement

    def _begun(
        self, session: Session, home: GalleryRow, there: SubjectRow, subject: str, before: ErasureRow | None
    ) -> ErasureRow:
        """Deletes a subject; takes over what another of that id left to be done."""
        subjects, gone = [there.key], remove_subject(session, home, there.key, there.references)
        if before is not None:
            if before.statement is None:
                known = _erasure(before)
                subjects, gone = [*known.subjects, *subjects], [*known.references, *gone]
            session.execute(delete(ErasureRow).where(ErasureRow.key == before.key))
        row = ErasureRow(
            tenant=home.tenant,
            gallery_key=home.key,
            subject=self._token(home, subject),
            deleted={"subjects": subjects, "references": [list(astuple(deleted)) for deleted in gone]},
            expires_at=datetime.now(UTC) + RESUMED,
        )
        session.add(row)
        session.flush()
        return row

    def _known(self, session: Session, home: GalleryRow, subject: str) -> ErasureRow | None:
        named = ErasureRow.subject == self._token(home, subject)
        return session.scalar(select(ErasureRow).where(ErasureRow.gallery_key == home.key, named))

    def _token(self, home: GalleryRow, subject: str) -> str:
        return text_token(self._rows.codec, f"erasure {home.key}", subject)

    def _found(self, session: Session, column: Column[Any], keys: Sequence[int]) -> Iterator[tuple[object, ...]]:
        """Table and primary key of each that has one of the keys in this column."""
        table = column.table
        query = select(literal(table.name), *table.primary_key.columns).where(table.c.tenant == self._rows.tenant)
        for start in range(0, len(keys), BATCH):
            yield from map(tuple, session.execute(query.where(column.in_(keys[start : start + BATCH]))))


def _naming(owner: str) -> Iterator[Column[Any]]:
    """The columns that hold keys of this table: its own, and those of whatever belongs to its rows. The log of
    revisions, from which indexes learn what to forget, is not among them."""
    key = Base.metadata.tables[owner].c.key
    yield key
    for table in Base.metadata.sorted_tables:
        yield from (foreign.parent for foreign in table.foreign_keys if foreign.column is key)


def _erasure(row: ErasureRow) -> Erasure:
    references = tuple(Deleted(*deleted) for deleted in row.deleted["references"])
    return Erasure(row.key, tuple(row.deleted["subjects"]), references, row.statement)


class Residue(Transactions):
    """Of one tenant. Raises StoreUnavailable."""

    def sweep(self) -> dict[str, int]:
        """Deletes it; how many rows there were, by what they are."""
        with self.writing() as session:
            found = {
                what: count for what, table, which in self._kinds() if (count := self._delete(session, table, which))
            }
        wipe_log(self.engine)
        return found

    def _kinds(self) -> Iterator[tuple[str, Table, ColumnElement[bool]]]:
        """Owners first: what is deleted with them needs no second look."""
        for table in Base.metadata.sorted_tables:
            for key in table.foreign_keys:
                orphaned = key.parent.is_not(None) & key.parent.not_in(select(key.column))
                yield f"rows of {table.name} without their row of {key.column.table.name}", table, orphaned
        for kind, what in ((AnswerRow, "lapsed answers to enrolments"), (ErasureRow, "lapsed receipts of erasures")):
            table = Base.metadata.tables[kind.__tablename__]
            yield what, table, table.c.expires_at < datetime.now(UTC)

    def _delete(self, session: Session, table: Table, which: ColumnElement[bool]) -> int:
        own = which & (table.c.tenant == self.tenant)
        count = session.scalar(select(func.count()).select_from(table).where(own)) or 0
        if count:
            session.execute(delete(table).where(own))
        return count
