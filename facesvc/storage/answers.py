"""Answers kept for requests that may come again: an idempotency key does its enrolment at most once.

A claim lapses after LEASE, so that a killed process blocks nobody for long. Should a slower one still be at work
then, the answer that is committed first stands, and the other request stores nothing.

An answer tells of a subject: it is sealed with that one's key, and goes with it. A request that stored nothing for
somebody who is not there leaves no answer: to do it again changes as little.

What is kept for a while, and its end.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.orm import Session

from facesvc.core.types import Receipt, Ticket
from facesvc.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from facesvc.storage.engine import wipe_log
from facesvc.storage.sealing import SealedRows, SubjectCipher, text_token
from facesvc.storage.tables import AnswerRow, ErasureRow, GalleryRow, SubjectRow

LAPSING: tuple[type[AnswerRow] | type[ErasureRow], ...] = (AnswerRow, ErasureRow)


def purge_lapsed(session: Session, kind: type[AnswerRow] | type[ErasureRow], tenant: str) -> None:
    """Deletes what has lapsed, but for rows that a slow request is writing at this moment."""
    free = select(kind.key).where(*_lapsed(kind, tenant)).with_for_update(skip_locked=True)
    session.execute(delete(kind).where(kind.tenant == tenant, kind.key.in_(free)))


def _lapsed(kind: type[AnswerRow] | type[ErasureRow], tenant: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return kind.tenant == tenant, kind.expires_at <= datetime.now(UTC)


LEASE = timedelta(seconds=20)
"""Time in which a claimed ticket is nobody else's."""
KEPT = timedelta(hours=24)
"""Time for which an answer is given again."""


class Answers:
    """The answers that are stored for one tenant's requests. Raises StoreUnavailable."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def claim(self, ticket: Ticket) -> bytes | None:
        """Return the answer stored for this ticket. Without one, the ticket is the caller's to answer or to release,
        and lapses otherwise. Raises IdempotencyKeyInUse while another request has it, IdempotencyKeyReused where its
        key came with another request."""
        now = datetime.now(UTC)
        with self._rows.writing(conflict=in_use()) as session:
            purge_lapsed(session, AnswerRow, self._rows.tenant)
            row = session.scalar(self._kept(ticket))
            if row is None:
                session.add(self._claimed(ticket, now + LEASE))
                return None
            if row.request != self._request(ticket):
                raise IdempotencyKeyReused("this Idempotency-Key came with another request before")
            if row.answer is None:
                raise in_use()
            return self._open_answer(session, row, row.answer)

    def release(self, ticket: Ticket) -> None:
        """Give back a ticket that was claimed and not answered."""
        with self._rows.writing() as session:
            self._give_back(session, ticket)

    def keep(
        self, session: Session, home: GalleryRow, owner: SubjectRow | None, receipt: Receipt, answer: bytes
    ) -> None:
        """Store ``answer`` in the transaction of ``session``. owner: the subject that it tells of; None where there is
        none, and the claim is given back. Raises IdempotencyKeyInUse where
        another's was kept."""
        expires = datetime.now(UTC) + KEPT
        row = session.scalar(self._kept(receipt.ticket).with_for_update())
        if row is not None and (row.answer is not None or row.request != self._request(receipt.ticket)):
            raise in_use()
        if owner is None:
            self._give_back(session, receipt.ticket)
            return
        if row is None:  # the claim lapsed
            row = self._claimed(receipt.ticket, expires)
            session.add(row)
        row.gallery_key, row.subject_key = home.key, owner.key
        row.expires_at = expires
        row.answer = SubjectCipher.of(self._rows.codec, owner).seal_answer(row.key, answer)

    def forget_lapsed(self) -> None:
        """Delete stored answers and erasures whose time has come."""
        if not self._any_lapsed():  # a look that changes nothing holds nobody up
            return
        with self._rows.writing() as session:
            for kind in LAPSING:
                purge_lapsed(session, kind, self._rows.tenant)
        wipe_log(self._rows.engine)

    def _any_lapsed(self) -> bool:
        with self._rows.reading() as session:
            return any(
                session.scalar(select(kind.key).where(*_lapsed(kind, self._rows.tenant)).limit(1)) is not None
                for kind in LAPSING
            )

    def _give_back(self, session: Session, ticket: Ticket) -> None:
        """The claim, where it was not answered."""
        mine = (AnswerRow.tenant == self._rows.tenant, AnswerRow.key == self._key(ticket), AnswerRow.answer.is_(None))
        session.execute(delete(AnswerRow).where(*mine))

    def _open_answer(self, session: Session, row: AnswerRow, answer: bytes) -> bytes:
        owner = session.get_one(SubjectRow, row.subject_key)
        return SubjectCipher.of(self._rows.codec, owner).open_answer(row.key, answer)

    def _claimed(self, ticket: Ticket, expires: datetime) -> AnswerRow:
        key, request = self._key(ticket), self._request(ticket)
        return AnswerRow(tenant=self._rows.tenant, key=key, request=request, expires_at=expires)

    def _kept(self, ticket: Ticket) -> Select[AnswerRow]:
        return select(AnswerRow).where(AnswerRow.tenant == self._rows.tenant, AnswerRow.key == self._key(ticket))

    def _key(self, ticket: Ticket) -> str:
        return text_token(self._rows.codec, "idempotency key", ticket.key)

    def _request(self, ticket: Ticket) -> str:
        return text_token(self._rows.codec, "request", ticket.request)


def in_use() -> IdempotencyKeyInUse:
    return IdempotencyKeyInUse("the first request with this Idempotency-Key is still being worked on")


def forget_answers(session: Session, subject: SubjectRow) -> None:
    """Deletes the kept answers that tell of a subject, one of whose references is deleted."""
    session.execute(delete(AnswerRow).where(AnswerRow.subject_key == subject.key))
