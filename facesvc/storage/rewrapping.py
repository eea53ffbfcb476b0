"""Replacement of a tenant's data key: what an older one wraps is wrapped by the newest, some rows at a time, while
others read and write them.

Each step is a transaction that holds a gallery's lock, as every write to that gallery does. A run that is killed half
way leaves nothing to mend: rows say themselves by which data key they are wrapped.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from facesvc.storage.engine import wipe_log
from facesvc.storage.galleries import lock_gallery
from facesvc.storage.keys import latest_data_key
from facesvc.storage.sealing import SealedRows, gallery_columns, open_gallery, owner_of_key, put
from facesvc.storage.tables import DataKeyRow, GalleryRow, SubjectRow

STEP = 200
"""Rows wrapped in one transaction: writers wait for it some hundredths of a second."""
Row = TypeVar("Row", GalleryRow, SubjectRow)


class Rewrapping(SealedRows):
    """Data keys of one tenant. Raises SealBroken for rows that are damaged, StoreUnavailable."""

    def rewrap(self) -> Iterator[int]:
        """Bring all that an older data key seals under the newest; yield the number of rows after each transaction."""
        with self.reading() as session:
            newest = latest_data_key(session, self.tenant)
        yield from self._until_done(GalleryRow, newest, self._reseal_gallery)
        yield from self._until_done(SubjectRow, newest, self._rewrap_subject)

    def drop_old_keys(self) -> bool:
        """Delete the data keys before the newest; False where something is sealed with them: a slow transaction's.
        Those that are under way are waited for, see ``keys.latest_data_key``."""
        with self.writing() as session:
            newest = latest_data_key(session, self.tenant)
            old = (DataKeyRow.tenant == self.tenant) & (DataKeyRow.version < newest)
            session.execute(select(DataKeyRow.version).where(old).with_for_update())
            if any(self._is_used(session, table, newest) for table in (GalleryRow, SubjectRow)):
                return False
            session.execute(delete(DataKeyRow).where(old).execution_options(synchronize_session=False))
        wipe_log(self.engine)
        return True

    def by_data_key(self) -> dict[int, int]:
        """Count the rows that each data key seals, by its version; also those that seal none."""
        with self.reading() as session:
            versions = session.scalars(select(DataKeyRow.version).where(DataKeyRow.tenant == self.tenant))
            found = dict.fromkeys(sorted(versions), 0)
            for table in (GalleryRow, SubjectRow):
                query = select(table.data_key, func.count()).where(table.tenant == self.tenant)
                for version, count in session.execute(query.group_by(table.data_key)):
                    found[version] = found.get(version, 0) + count
        return found

    def reissue(self, gallery: str) -> None:
        """Rotate the gallery's templates anew: what indexes hold of it is foreign from now on. Raises
        GalleryNotFound."""
        with self.writing() as session:
            lock_gallery(session, self, gallery).issue += 1

    def _until_done(self, table: type[Row], newest: int, renew: Callable[[Session, Row], None]) -> Iterator[int]:
        while count := self._step(table, newest, renew):
            yield count

    def _step(self, table: type[Row], newest: int, renew: Callable[[Session, Row], None]) -> int:
        """Renew rows of one gallery that are under data keys before ``newest``; return how many, 0 at the end."""
        old = (table.tenant == self.tenant, table.data_key < newest)
        at: Any = GalleryRow.key if table is GalleryRow else table.gallery_key  # type: ignore[attr-defined]
        with self.writing() as session:
            gallery = session.scalar(select(at).where(*old).limit(1))
            if gallery is None:
                return 0
            session.execute(select(GalleryRow.key).where(GalleryRow.key == gallery).with_for_update())
            rows = session.scalars(select(table).where(*old, at == gallery).limit(STEP)).all()
            for row in rows:
                renew(session, row)
            return max(len(rows), 1)  # none: somebody deleted them meanwhile; there may be others

    def _reseal_gallery(self, session: Session, row: GalleryRow) -> None:
        put(row, gallery_columns(session, self, open_gallery(self.codec, row)))

    def _rewrap_subject(self, session: Session, row: SubjectRow) -> None:
        owner, newest = owner_of_key(row.gallery_key, row.id), latest_data_key(session, self.tenant)
        key = self.codec.data_key(row.data_key).open(row.sealed_key, owner)
        row.sealed_key, row.data_key = self.codec.data_key(newest).seal(key, owner), newest

    def _is_used(self, session: Session, table: type[Any], newest: int) -> bool:
        """Return whether a data key before ``newest`` seals rows of this table."""
        old = select(table.key).where(table.tenant == self.tenant, table.data_key < newest)
        return session.scalar(old.limit(1)) is not None
