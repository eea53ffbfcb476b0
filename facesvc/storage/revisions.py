"""The revision log, from which an index catches up with its gallery.

A write gives its gallery the next revision while it holds the gallery's lock, so a revision that can be read has
everything before it committed. Added templates carry their revision; removals live in the log alone. Each template
version of a gallery has its own lines, and is followed by itself.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, exists, func, insert, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from facesvc.core.types import DIMENSION, Changes, Gallery, Vectors
from facesvc.errors import GalleryNotFound
from facesvc.storage.sealing import SealedRows, SubjectCiphers
from facesvc.storage.tables import GalleryRow, ReferenceRow, RevisionRow, SubjectRow, TemplateRow
from facesvc.storage.transactions import BATCH

ADD, REMOVE = "add", "remove"


class Revisions:
    """What happened to the templates of one tenant's galleries. Raises StoreUnavailable."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def changes(self, gallery: Gallery, after: int, limit: int | None = None) -> Changes:
        """The templates of ``gallery.template_version`` that are there now and were added after ``after``, and the keys
        of those that were removed since. Those too, that were added since: an index that was cut short as it caught up
        may hold them. Reads the templates themselves, so the cost is that of the result however long the log is.

        limit: whole writes until there are so many templates (at least one write); where that leads is the
        answer's revision. Steps may see different moments: what was removed since one is in a later one's log."""
        with self._rows.reading() as session:
            revision = self._revision(session, gallery)
            if limit is not None:
                revision = _reached(session, gallery, after, revision, limit)
            added, vectors = self._added(session, gallery, after, revision)
            removed = _removed(session, gallery, after, revision) if after else np.empty(0, np.int64)
        return Changes(added, vectors, removed, revision)

    def issued(self, gallery: Gallery, vectors: Vectors) -> Vectors:
        """(n 128) templates or probes -> (n 128) as the gallery's indexes hold them, see ``core.rotation``;
        distances are the same."""
        return self._rows.codec.issued(gallery.key, gallery.issue, vectors)

    def removals(self, gallery: Gallery, after: int) -> tuple[NDArray[np.int64], int]:
        """Return the keys (n,) of the references that were removed after revision ``after``, and the gallery's
        revision."""
        with self._rows.reading() as session:
            revision = self._revision(session, gallery)
            return _removed(session, gallery, after, revision), revision

    def _revision(self, session: Session, gallery: Gallery) -> int:
        query = select(GalleryRow.revision).where(GalleryRow.key == gallery.key, GalleryRow.tenant == self._rows.tenant)
        revision = session.scalar(query)
        if revision is None:
            raise GalleryNotFound(f"no gallery {gallery.name!r}")
        return revision

    def _added(self, session: Session, gallery: Gallery, after: int, until: int) -> tuple[NDArray[np.int64], Vectors]:
        """Keys (n,) in the order they were added, and vectors (n d) as indexes hold them, written into place row by
        row."""
        within = _templates(gallery, after, until)
        count = session.scalar(select(func.count()).select_from(TemplateRow).where(*within)) or 0
        keys, vectors = np.empty(count, np.int64), np.empty((count, DIMENSION), np.float32)
        query = sealed_vectors().where(*within).order_by(TemplateRow.revision, TemplateRow.reference_key)
        filled, ciphers, version = 0, SubjectCiphers(self._rows.codec), gallery.template_version
        rows = session.execute(query, execution_options={"yield_per": BATCH})
        for key, public_id, stored, subject, token, wrapped, data_key in rows:
            keys[filled] = key
            cipher = ciphers.at(subject, gallery.key, token, wrapped, data_key)
            vectors[filled] = cipher.open_vector(public_id, version, stored)
            filled += 1
        # a removal in between makes it fewer than were counted
        return keys[:filled], self.issued(gallery, vectors[:filled])


def sealed_vectors() -> Select[int, str, bytes, int, str, bytes, int]:
    """Select keys, public ids and sealed vectors of references, and the columns that ``SubjectCiphers.at`` takes to
    open them, but for the gallery's key."""
    key = (SubjectRow.key, SubjectRow.id, SubjectRow.sealed_key, SubjectRow.data_key)
    return (
        select(ReferenceRow.key, ReferenceRow.id, TemplateRow.vector, *key)
        .select_from(TemplateRow)
        .join(ReferenceRow, ReferenceRow.key == TemplateRow.reference_key)
        .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
    )


def _reached(session: Session, gallery: Gallery, after: int, until: int, limit: int) -> int:
    """The write that adds the limit-th of the templates that are there, after ``after``; ``until`` where there are
    fewer."""
    query = select(TemplateRow.revision).where(*_templates(gallery, after, until))
    return session.scalar(query.order_by(TemplateRow.revision).offset(limit - 1).limit(1)) or until


def _removed(session: Session, gallery: Gallery, after: int, until: int) -> NDArray[np.int64]:
    """Sorted keys (n,); without those that were removed, and are there again."""
    within = (RevisionRow.gallery_key == gallery.key, *_between(RevisionRow.revision, after, until))
    of_version = RevisionRow.template_version == gallery.template_version
    there = exists().where(
        TemplateRow.reference_key == RevisionRow.reference_key,
        TemplateRow.template_version == RevisionRow.template_version,
    )
    query = select(RevisionRow.reference_key).where(*within, of_version, RevisionRow.op == REMOVE, ~there)
    return np.unique(np.fromiter(session.scalars(query), np.int64))


def _templates(gallery: Gallery, after: int, until: int) -> tuple[ColumnElement[bool], ...]:
    return (
        TemplateRow.gallery_key == gallery.key,
        TemplateRow.template_version == gallery.template_version,
        *_between(TemplateRow.revision, after, until),
    )


def _between(
    column: InstrumentedAttribute[int], after: int, until: int
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column > after, column <= until


def log_added(session: Session, gallery: GalleryRow, added: Iterable[tuple[int, str]], revision: int) -> None:
    """Notes that the write ``revision`` added templates: key of the reference, and version."""
    row = {"tenant": gallery.tenant, "gallery_key": gallery.key, "revision": revision, "op": ADD}
    rows = [row | {"reference_key": key, "template_version": version} for key, version in added]
    if rows:
        session.execute(insert(RevisionRow), rows)


def log_removed(session: Session, gallery: GalleryRow, which: ColumnElement[bool], revision: int) -> None:
    """Notes that the write ``revision`` removes templates of the gallery, as ``which`` chooses among them and their
    references; to be called before it does."""
    removed = select(
        TemplateRow.tenant,
        TemplateRow.gallery_key,
        literal(revision),
        TemplateRow.reference_key,
        literal(REMOVE),
        TemplateRow.template_version,
    ).join(ReferenceRow, ReferenceRow.key == TemplateRow.reference_key)
    columns = ["tenant", "gallery_key", "revision", "reference_key", "op", "template_version"]
    mine = removed.where(TemplateRow.gallery_key == gallery.key, which)
    session.execute(insert(RevisionRow).from_select(columns, mine))
