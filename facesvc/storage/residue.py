"""What should not be in the database: rows whose owner is gone, and what has lapsed. Foreign keys see to it
that there is none; a copy that was made or mended by other means may have it all the same."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Table, delete, func, select
from sqlalchemy.orm import Session

from facesvc.storage.engine import wipe_log
from facesvc.storage.tables import AnswerRow, ErasureRow
from facesvc.storage.tables import Table as Base
from facesvc.storage.transactions import Transactions


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
