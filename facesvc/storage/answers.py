"""Answers kept for requests that may come again: an idempotency key does its enrolment at most once.

A claim lapses after LEASE, so that a killed process blocks nobody for long. Should a slower one still be at work
then, the answer that is committed first stands, and the other request stores nothing.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from facesvc.core.types import Receipt, Ticket
from facesvc.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from facesvc.storage.tables import AnswerRow, GalleryRow, SubjectRow
from facesvc.storage.transactions import Transactions

LEASE = timedelta(seconds=20)
"""Time in which a claimed ticket is nobody else's."""
KEPT = timedelta(hours=24)
"""Time for which an answer is given again."""


class Answers(Transactions):
    """The kept answers of one tenant; see core.ports.ReferenceStore."""

    def claim(self, ticket: Ticket) -> bytes | None:
        now = datetime.now(UTC)
        with self.writing(conflict=in_use()) as session:
            self._purge(session, now)
            row = session.get(AnswerRow, (self.tenant, ticket.key))
            if row is None:
                session.add(self._claimed(ticket, now + LEASE))
                return None
            if row.request != ticket.request:
                raise IdempotencyKeyReused("this Idempotency-Key came with another request before")
            if row.answer is None:
                raise in_use()
            return self.codec.open(row.answer, row.key)

    def release(self, ticket: Ticket) -> None:
        mine = (AnswerRow.tenant == self.tenant, AnswerRow.key == ticket.key, AnswerRow.answer.is_(None))
        with self.writing() as session:
            session.execute(delete(AnswerRow).where(*mine))

    def keep_answer(
        self, session: Session, home: GalleryRow, owner: SubjectRow | None, receipt: Receipt, answer: bytes
    ) -> None:
        """Keeps ``answer`` in the transaction of ``session``. owner: the subject it tells of, None where nothing was
        stored. Raises IdempotencyKeyInUse where another's was kept."""
        expires = datetime.now(UTC) + KEPT
        row = session.get(AnswerRow, (self.tenant, receipt.ticket.key), with_for_update=True)
        if row is None:  # the claim lapsed
            row = self._claimed(receipt.ticket, expires)
            session.add(row)
        if row.answer is not None or row.request != receipt.ticket.request:
            raise in_use()
        row.gallery_key, row.subject_key = home.key, owner.key if owner else None
        row.answer, row.expires_at = self.codec.seal(answer, row.key), expires

    def _claimed(self, ticket: Ticket, expires: datetime) -> AnswerRow:
        return AnswerRow(tenant=self.tenant, key=ticket.key, request=ticket.request, expires_at=expires)

    def _purge(self, session: Session, now: datetime) -> None:
        """Deletes what has expired, but for rows that a slow request is answering at this moment."""
        lapsed = select(AnswerRow.key).where(AnswerRow.tenant == self.tenant, AnswerRow.expires_at <= now)
        lapsed = lapsed.with_for_update(skip_locked=True)
        session.execute(delete(AnswerRow).where(AnswerRow.tenant == self.tenant, AnswerRow.key.in_(lapsed)))


def in_use() -> IdempotencyKeyInUse:
    return IdempotencyKeyInUse("the first request with this Idempotency-Key is still being worked on")


def forget_answers(session: Session, subject: SubjectRow) -> None:
    """Deletes the kept answers that tell of a subject, one of whose references is deleted."""
    session.execute(delete(AnswerRow).where(AnswerRow.subject_key == subject.key))
