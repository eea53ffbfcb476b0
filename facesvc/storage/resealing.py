"""Rows of one tenant sealed anew, some at a time, while others read and write them: what was stored in the clear, and
what is under an older data key.

Each step is a transaction that holds a gallery's lock, as every write to that gallery does. A run that is killed half
way leaves nothing to mend: rows say themselves what is still to be done with them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from facesvc.core.types import NewReference, Sample, Template
from facesvc.storage.answers import Answers
from facesvc.storage.engine import wipe_log
from facesvc.storage.galleries import lock_gallery
from facesvc.storage.keys import latest_data_key
from facesvc.storage.sealing import (
    PLAIN_VECTOR,
    SEALED,
    Locker,
    gallery_columns,
    open_gallery,
    owner_of_key,
    put,
    stored_names,
)
from facesvc.storage.subjects import locked_subject
from facesvc.storage.tables import (
    AnswerRow,
    DataKeyRow,
    GalleryRow,
    PhotographRow,
    ReferenceRow,
    SubjectRow,
    TemplateRow,
)

STEP = 200
"""Rows sealed in one transaction: writers wait for it some hundredths of a second."""
PHOTOGRAPHS = 25
"""References sealed in one, with their photographs."""
Row = TypeVar("Row", GalleryRow, SubjectRow, AnswerRow)


class Resealing(Answers):
    """Of a store that seals. Raises SealBroken for rows that are damaged, StoreUnavailable."""

    # --- what is in the clear -----------------------------------------------------------------------

    def seal(self) -> Iterator[int]:
        """Seals all that is in the clear; after each transaction, how many rows it sealed. What the file of a SQLite
        database held before is overwritten; PostgreSQL keeps it in dead rows until it is vacuumed."""
        yield from self._until_done(GalleryRow, GalleryRow.sealed.is_(None), self._reseal_gallery)
        yield from self._until_done(SubjectRow, SubjectRow.sealed_key.is_(None), self._seal_subject)
        yield from self._seal_references()
        kept = AnswerRow.answer.is_not(None) & ~AnswerRow.key.startswith("/")
        yield from self._until_done(AnswerRow, kept, self._seal_answer)
        wipe_log(self.engine)

    def holds_plain(self) -> bool:
        return bool(sum(self.plain().values()))

    def plain(self) -> dict[str, int]:
        """How many rows are in the clear, by what they are."""
        kinds: dict[str, tuple[type[Any], ColumnElement[bool]]] = {
            "galleries": (GalleryRow, GalleryRow.sealed.is_(None)),
            "subjects": (SubjectRow, SubjectRow.sealed_key.is_(None)),
            "references": (ReferenceRow, ReferenceRow.sealed.is_(None)),
            "templates": (TemplateRow, func.length(TemplateRow.vector) == PLAIN_VECTOR),
            "photographs": (PhotographRow, PhotographRow.media_type != SEALED),
        }
        with self.reading() as session:
            return {what: self._count(session, table, which) for what, (table, which) in kinds.items()}

    # --- what is under an older data key ------------------------------------------------------------

    def rewrap(self) -> Iterator[int]:
        """Brings all that an older data key seals under the newest; as ``seal``."""
        with self.reading() as session:
            newest = latest_data_key(session, self.tenant)
        yield from self._until_done(GalleryRow, GalleryRow.data_key < newest, self._reseal_gallery)
        yield from self._until_done(SubjectRow, SubjectRow.data_key < newest, self._rewrap_subject)

    def drop_old_keys(self) -> bool:
        """Deletes the data keys before the newest; False where something is sealed with them: a slow transaction's.
        Those that are under way are waited for, see ``keys.latest_data_key``."""
        with self.writing() as session:
            newest = latest_data_key(session, self.tenant)
            old = (DataKeyRow.tenant == self.tenant) & (DataKeyRow.version < newest)
            session.execute(select(DataKeyRow.version).where(old).with_for_update())
            if any(self._count(session, table, table.data_key < newest) for table in (GalleryRow, SubjectRow)):
                return False
            session.execute(delete(DataKeyRow).where(old).execution_options(synchronize_session=False))
        wipe_log(self.engine)
        return True

    def by_data_key(self) -> dict[int, int]:
        """How many rows each data key seals, by its version; also those that seal none."""
        with self.reading() as session:
            versions = session.scalars(select(DataKeyRow.version).where(DataKeyRow.tenant == self.tenant))
            found = dict.fromkeys(sorted(versions), 0)
            for table in (GalleryRow, SubjectRow):
                query = select(table.data_key, func.count()).where(table.tenant == self.tenant)
                for version, count in session.execute(query.group_by(table.data_key)):
                    if version is not None:
                        found[version] = found.get(version, 0) + count
        return found

    def reissue(self, gallery: str) -> None:
        """Turns the gallery's templates anew: what indexes hold of it is foreign from now on. Raises
        GalleryNotFound."""
        with self.writing() as session:
            lock_gallery(session, self, gallery).issue += 1

    # --- parts --------------------------------------------------------------------------------------

    def _until_done(
        self, table: type[Row], which: ColumnElement[bool], renew: Callable[[Session, Row], None]
    ) -> Iterator[int]:
        """Takes the rows that ``which`` chooses, of one gallery at a time; they must not be chosen again."""
        while count := self._step(table, which, renew):
            yield count

    def _step(self, table: type[Row], which: ColumnElement[bool], renew: Callable[[Session, Row], None]) -> int:
        mine = (table.tenant == self.tenant, which)
        at: Any = GalleryRow.key if table is GalleryRow else table.gallery_key  # type: ignore[attr-defined]
        with self.writing() as session:
            gallery = session.scalar(select(at).where(*mine).limit(1))
            if gallery is None:
                return 0
            session.execute(select(GalleryRow.key).where(GalleryRow.key == gallery).with_for_update())
            rows = session.scalars(select(table).where(*mine, at == gallery).limit(STEP)).all()
            for row in rows:
                renew(session, row)
            return max(len(rows), 1)  # none: somebody deleted them meanwhile; there may be others

    def _reseal_gallery(self, session: Session, row: GalleryRow) -> None:
        put(row, gallery_columns(session, self, open_gallery(self.codec, row)))

    def _seal_subject(self, session: Session, row: SubjectRow) -> None:
        locked_subject(session, self, row)

    def _rewrap_subject(self, session: Session, row: SubjectRow) -> None:
        assert row.sealed_key is not None
        assert row.data_key is not None
        owner, newest = owner_of_key(row.gallery_key, row.id), latest_data_key(session, self.tenant)
        key = self.codec.tenants(row.data_key).open(row.sealed_key, owner)
        row.sealed_key, row.data_key = self.codec.tenants(newest).seal(key, owner), newest

    def _seal_answer(self, session: Session, row: AnswerRow) -> None:
        """Those that tell of nobody who is there were kept before subjects owned them, for a day: they go."""
        owner = session.get(SubjectRow, row.subject_key) if row.subject_key else None
        if owner is None:
            session.delete(row)
            return
        row.key = stored_names(self.codec, "idempotency key", row.key)[0]
        row.request = stored_names(self.codec, "request", row.request)[0]
        row.answer = Locker.of(self.codec, owner).put_answer(row.key, row.answer or b"")

    def _seal_references(self) -> Iterator[int]:
        after = 0
        while True:
            with self.writing() as session:
                plain = (ReferenceRow.tenant == self.tenant, ReferenceRow.sealed.is_(None), ReferenceRow.key > after)
                first = session.scalar(select(ReferenceRow).where(*plain).order_by(ReferenceRow.key).limit(1))
                if first is None:
                    return
                session.execute(select(GalleryRow.key).where(GalleryRow.key == first.gallery_key).with_for_update())
                own = select(ReferenceRow).where(*plain, ReferenceRow.gallery_key == first.gallery_key)
                rows = session.scalars(own.order_by(ReferenceRow.key).limit(PHOTOGRAPHS)).all()
                self._seal_these(session, rows)
                after = first.key - 1  # all before it are sealed
            yield len(rows)

    def _seal_these(self, session: Session, rows: Sequence[ReferenceRow]) -> None:
        lockers = {row.key: Locker.of(self.codec, session.get_one(SubjectRow, row.subject_key)) for row in rows}
        ids = {row.key: row.id for row in rows}
        for row in rows:
            seen = lockers[row.key].reference(row)
            none = Template(np.empty(0, np.float32), "")
            new = NewReference(Sample(seen.face, seen.quality, none), seen.image_sha256)
            put(row, lockers[row.key].put_reference(row.id, new))
        for template in session.scalars(select(TemplateRow).where(TemplateRow.reference_key.in_(ids))):
            key, version = template.reference_key, template.template_version
            vector = lockers[key].vector(ids[key], version, template.vector)
            template.vector = lockers[key].put_vector(ids[key], version, vector)
        for photograph in session.scalars(select(PhotographRow).where(PhotographRow.reference_key.in_(ids))):
            key = photograph.reference_key
            put(photograph, lockers[key].put_photograph(ids[key], lockers[key].photograph(ids[key], photograph)))

    def _count(self, session: Session, table: type[Any], which: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(table).where(table.tenant == self.tenant, which)
        return session.scalar(query) or 0
