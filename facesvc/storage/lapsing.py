"""What is kept for a while, and its end."""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from facesvc.storage.engine import wipe_log
from facesvc.storage.tables import AnswerRow, ErasureRow
from facesvc.storage.transactions import Transactions

LAPSING: tuple[type[AnswerRow] | type[ErasureRow], ...] = (AnswerRow, ErasureRow)


class Lapsing(Transactions):
    """Of one tenant; see core.erasure.ErasingStore."""

    def forget_lapsed(self) -> None:
        if not self._any_lapsed():  # a look that changes nothing holds nobody up
            return
        with self.writing() as session:
            for kind in LAPSING:
                purge_lapsed(session, kind, self.tenant)
        wipe_log(self.engine)

    def _any_lapsed(self) -> bool:
        with self.reading() as session:
            return any(
                session.scalar(select(kind.key).where(*_lapsed(kind, self.tenant)).limit(1)) is not None
                for kind in LAPSING
            )


def purge_lapsed(session: Session, kind: type[AnswerRow] | type[ErasureRow], tenant: str) -> None:
    """Deletes what has lapsed, but for rows that a slow request is writing at this moment."""
    free = select(kind.key).where(*_lapsed(kind, tenant)).with_for_update(skip_locked=True)
    session.execute(delete(kind).where(kind.tenant == tenant, kind.key.in_(free)))


def _lapsed(kind: type[AnswerRow] | type[ErasureRow], tenant: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return kind.tenant == tenant, kind.expires_at <= datetime.now(UTC)
