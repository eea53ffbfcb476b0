"""The audit log in the database: one chain of lines for each tenant.

Lines are appended under the lock of the tenant's row, so that no two processes continue the chain at one place. The row
has the head, which each continuation signs anew, and none goes on from one that is not signed: that would make a log
whole whose end was cut off.
Requests that end together are written together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.orm import Session

from facesvc.core.audit import Chain, Head, Line
from facesvc.errors import AuditBroken, TenantNotFound
from facesvc.storage.tables import AuditRow, TenantRow
from facesvc.storage.transactions import BATCH, Transactions


@dataclass(eq=False)
class _Waiting:
    entries: list[bytes]
    head: Head | None = None
    failure: Exception | None = field(default=None)


class SqlAuditLog(Transactions):
    """Keep one tenant's audit lines, on SQLite or PostgreSQL; ``facesvc.service.audit`` makes them.

    Thread-safe. All methods raise StoreUnavailable.
    """

    def __init__(self, engine: Engine, tenant: str, chain: Chain) -> None:
        super().__init__(engine, tenant)
        self.chain = chain
        self._waiting: list[_Waiting] = []
        self._turn, self._lock = Lock(), Lock()

    def append(self, entries: list[bytes]) -> Head:
        """Write lines at the end, all or none, durable when it returns; return the head after them.

        The thread whose turn it is writes the lines of all that wait: one commit, however many requests end at once.
        Raises AuditBroken where the end of the log was tampered with, TenantNotFound for a tenant that was deleted."""
        mine = _Waiting(entries)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if mine.head is None and mine.failure is None:
                self._write_all()
        if mine.failure is not None:
            raise mine.failure
        assert mine.head is not None
        return mine.head

    def _write_all(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            heads = self._write([waiting.entries for waiting in batch])
        except Exception as error:
            for waiting in batch:
                waiting.failure = error
            return
        for waiting, head in zip(batch, heads, strict=True):
            waiting.head = head

    def _write(self, groups: list[list[bytes]]) -> list[Head]:
        with self.writing() as session:
            row = self._locked(session)
            head, heads, lines = self._head(row), [], list[Line]()
            for entries in groups:
                for entry in entries:
                    lines.append(self.chain.after(head, entry))
                    head = Head(lines[-1].sequence, lines[-1].digest)
                heads.append(head)
            if lines:
                session.execute(insert(AuditRow), [_columns(self.tenant, line) for line in lines])
                row.audit_sequence, row.audit_digest = head.sequence, head.digest
                row.audit_head = self.chain.signed(head)
        return heads

    def _locked(self, session: Session) -> TenantRow:
        row = session.scalar(select(TenantRow).where(TenantRow.tenant == self.tenant).with_for_update())
        return self._there(row)

    def _there(self, row: TenantRow | None) -> TenantRow:
        if row is None:
            raise TenantNotFound(f"no tenant {self.tenant!r}")
        return row

    def _head(self, row: TenantRow) -> Head:
        head = Head(row.audit_sequence, _bytes(row.audit_digest))
        self.chain.require_signed(head, _bytes(row.audit_head))
        return head

    def head(self) -> Head:
        """Where the log ends. Raises AuditBroken where it was not the service that wrote so, TenantNotFound."""
        with self.reading() as session:
            return self._head(self._there(session.get(TenantRow, self.tenant)))

    def lines(self, after: int = 0, until: int | None = None) -> Iterator[Line]:
        """In their order; written ones alone, as they stand, whether they are as they were written or not."""
        while True:
            query = select(AuditRow.sequence, AuditRow.entry, AuditRow.digest)
            query = query.where(AuditRow.tenant == self.tenant, AuditRow.sequence > after)
            if until is not None:
                query = query.where(AuditRow.sequence <= until)
            with self.reading() as session:
                found = [_line(*row) for row in session.execute(query.order_by(AuditRow.sequence).limit(BATCH))]
            yield from found
            if len(found) < BATCH:
                return
            after = found[-1].sequence

    def verify(self, noted: dict[int, bytes] | None = None) -> int:
        """How many lines there are, all as they were written. Raises AuditBroken, StoreUnavailable."""
        head = self.head()
        count = self.chain.verify(self.lines(until=head.sequence), head, noted)
        last = select(func.max(AuditRow.sequence)).where(AuditRow.tenant == self.tenant).scalar_subquery()
        query = select(TenantRow.audit_sequence, last).where(TenantRow.tenant == self.tenant)
        with self.reading() as session:  # one statement, one moment: lines are being written meanwhile
            known, there = session.execute(query).one()
        if (there or 0) != known:
            raise AuditBroken(f"there is a line {there}, but the last that was written is {known}")
        return count


def _line(sequence: int, entry: object, digest: object) -> Line:
    return Line(sequence, _bytes(entry), _bytes(digest))


def _bytes(stored: object) -> bytes:
    """SQLite's columns hold whatever somebody puts into them, of any type: what is no bytes is nothing of ours."""
    return stored if isinstance(stored, bytes) else repr(stored).encode()


def _columns(tenant: str, line: Line) -> dict[str, object]:
    return {"tenant": tenant, "sequence": line.sequence, "entry": line.entry, "digest": line.digest}
