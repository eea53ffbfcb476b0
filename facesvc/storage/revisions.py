"""The revision log, from which an index catches up with its gallery.

A write gives its gallery the next revision while it holds the gallery's lock, so a revision that can be read has
everything before it committed. Added references carry their revision; removals live in the log alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, func, insert, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from facesvc.core.types import DIMENSION, Changes, Gallery, Vectors
from facesvc.errors import GalleryNotFound
from facesvc.storage.tables import GalleryRow, ReferenceRow, RevisionRow
from facesvc.storage.transactions import Transactions

ADD, REMOVE = "add", "remove"
BATCH = 5_000
"""Rows fetched at a time: changes() holds its result and this much more."""


class Revisions(Transactions):
    """What happened to one tenant's galleries; see core.ports.ReferenceStore."""

    def changes(self, gallery: Gallery, after: int, limit: int | None = None) -> Changes:
        """The references that live now and were added after ``after``, and the keys of those that lived then and
        don't now. Reads the references themselves, so the cost is that of the result however long the log is.

        limit: whole writes until there are so many references (at least one write); where that leads is the
        answer's revision. Steps may see different moments: what was removed since one is in a later one's log."""
        with self.reading() as session:
            revision = self._revision(session, gallery)
            if limit is not None:
                revision = _reached(session, gallery.key, after, revision, limit)
            added, vectors = self._added(session, gallery.key, after, revision)
            removed = _removed(session, gallery.key, after, revision) if after else np.empty(0, np.int64)
        return Changes(added, vectors, removed, revision)

    def _revision(self, session: Session, gallery: Gallery) -> int:
        query = select(GalleryRow.revision).where(GalleryRow.key == gallery.key, GalleryRow.tenant == self.tenant)
        revision = session.scalar(query)
        if revision is None:
            raise GalleryNotFound(f"no gallery {gallery.name!r}")
        return revision

    def _added(self, session: Session, gallery_key: int, after: int, until: int) -> tuple[NDArray[np.int64], Vectors]:
        """Keys (n,) in the order they were added, and vectors (n d), written into place row by row."""
        within = (ReferenceRow.gallery_key == gallery_key, *_between(ReferenceRow.revision, after, until))
        count = session.scalar(select(func.count()).select_from(ReferenceRow).where(*within)) or 0
        keys, vectors = np.empty(count, np.int64), np.empty((count, DIMENSION), np.float32)
        query = select(ReferenceRow.key, ReferenceRow.id, ReferenceRow.vector).where(*within)
        query = query.order_by(ReferenceRow.revision, ReferenceRow.key).execution_options(yield_per=BATCH)
        filled = 0
        for key, owner, stored in session.execute(query):
            keys[filled], vectors[filled] = key, self.codec.decode(stored, owner)
            filled += 1
        return keys[:filled], vectors[:filled]  # a removal in between makes it fewer than were counted


def _reached(session: Session, gallery_key: int, after: int, until: int, limit: int) -> int:
    """The write that adds the limit-th living reference after ``after``; ``until`` where there are fewer."""
    within = (ReferenceRow.gallery_key == gallery_key, *_between(ReferenceRow.revision, after, until))
    query = select(ReferenceRow.revision).where(*within).order_by(ReferenceRow.revision).offset(limit - 1).limit(1)
    return session.scalar(query) or until


def _removed(session: Session, gallery_key: int, after: int, until: int) -> NDArray[np.int64]:
    def logged(op: str) -> Select[int]:
        within = (RevisionRow.gallery_key == gallery_key, *_between(RevisionRow.revision, after, until))
        return select(RevisionRow.reference_key).where(*within, RevisionRow.op == op)

    keys = session.execute(logged(REMOVE).except_(logged(ADD))).scalars()
    return np.sort(np.fromiter(keys, np.int64))


def _between(
    column: InstrumentedAttribute[int], after: int, until: int
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column > after, column <= until


def log_added(session: Session, gallery: GalleryRow, keys: Sequence[int], revision: int) -> None:
    """Notes that the write ``revision`` added references."""
    row = {
        "tenant": gallery.tenant,
        "gallery_key": gallery.key,
        "revision": revision,
        "op": ADD,
        "template_version": gallery.template_version,
    }
    session.execute(insert(RevisionRow), [row | {"reference_key": key} for key in keys])


def log_removed_reference(session: Session, gallery: GalleryRow, key: int, revision: int) -> None:
    """Notes that the write ``revision`` removes one reference; to be called before it does."""
    _log_removed(session, gallery, ReferenceRow.key == key, revision)


def log_removed_subject(session: Session, gallery: GalleryRow, subject_key: int, revision: int) -> None:
    """Notes that the write ``revision`` removes all of a subject's references; to be called before it does."""
    _log_removed(session, gallery, ReferenceRow.subject_key == subject_key, revision)


def _log_removed(session: Session, gallery: GalleryRow, which: ColumnElement[bool], revision: int) -> None:
    removed = select(
        ReferenceRow.tenant,
        ReferenceRow.gallery_key,
        literal(revision),
        ReferenceRow.key,
        literal(REMOVE),
        ReferenceRow.template_version,
    ).where(ReferenceRow.gallery_key == gallery.key, which)
    columns = ["tenant", "gallery_key", "revision", "reference_key", "op", "template_version"]
    session.execute(insert(RevisionRow).from_select(columns, removed))
