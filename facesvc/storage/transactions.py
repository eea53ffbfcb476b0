"""Transactions over one tenant's rows, with the database's failures told in our own errors.

Opaque cursors of keyset paging: where a listing goes on, and which listing it was.

Work that one holder at a time may do, among all threads and processes on this database.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Row, Select, func, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError, StatementError
from sqlalchemy.orm import InstrumentedAttribute, Session

from facesvc.errors import FaceServiceError, InvalidCursor, RequestError, StoreError, StoreUnavailable
from facesvc.storage.engine import TENANT, WRITING, writers_turn

BATCH = 5_000
"""Rows fetched at a time, and keys in one statement: databases allow 32766 parameters and more."""
EVERY_TENANT = "*"
"""In place of a tenant where rows of all are looked through, such as API keys; no tenant's id."""


class Transactions:
    """Transactions over the rows of one tenant, or of EVERY_TENANT."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self.engine = engine
        self.tenant = tenant
        self._reader = engine.execution_options(**{TENANT: tenant})
        self._writer = engine.execution_options(**{TENANT: tenant, WRITING: True})

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that writes nothing."""
        with translated(), Session(self._reader) as session:
            yield session

    @contextmanager
    def writing(self, conflict: StoreError | None = None) -> Iterator[Session]:
        """A transaction committed at the end, rolled back on any exception; ``conflict`` is raised where the rows
        that exist forbid the write."""
        with translated(conflict), writers_turn(self.engine), Session(self._writer) as session, session.begin():
            yield session


@contextmanager
def translated(conflict: StoreError | None = None) -> Iterator[None]:
    """The database's failures within as our errors; see ``Transactions.writing`` for ``conflict``."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _translate(error, conflict) from error


def _translate(error: SQLAlchemyError, conflict: StoreError | None) -> FaceServiceError:
    """Details stay in the exception's cause: they name hosts and hold values."""
    if isinstance(error, IntegrityError):
        return conflict or StoreError("write conflicts with what is stored")
    if isinstance(error, DataError):
        return RequestError("a value can't be stored")
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return RequestError(f"a value can't be stored: {error.orig}")
    return StoreUnavailable()


def require_limit(limit: int) -> None:
    """Raises RequestError for a page size below one."""
    if limit < 1:
        raise RequestError("limit must be at least 1")


Ts = TypeVarTuple("Ts")


def read_page(
    session: Session,
    query: Select[*Ts],
    position: InstrumentedAttribute[Any],
    listing: str,
    limit: int,
    cursor: str | None,
) -> tuple[Sequence[Row[*Ts]], str | None]:
    """Return a page of the rows of ``query`` in the order of ``position``, and the cursor of the next page, None at the
    end. position: a unique column of the first entity of the query; listing: names what is listed, so that a cursor
    fits no other. Raises RequestError for a limit below one, InvalidCursor."""
    require_limit(limit)
    if cursor is not None:
        query = query.where(position > decode_cursor(listing, cursor, position.type.python_type))
    rows = session.execute(query.order_by(position).limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    last: Any = rows[limit - 1]
    return rows[:limit], encode_cursor(listing, getattr(last[0], position.key))


P = TypeVar("P", str, int)
HIGHEST_KEY = 2**63 - 1


def encode_cursor(listing: str, last: str | int) -> str:
    """The cursor after the item at ``last`` (its name or key) of ``listing``."""
    position = json.dumps([listing, last], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(listing: str, cursor: str, kind: type[P]) -> P:
    """The position that ``encode_cursor`` put in. Raises InvalidCursor for anything that it did not make for
    this listing."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found, last = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeError, binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor("cursor is not one of ours") from error
    if found != listing or type(last) is not kind:
        raise InvalidCursor("cursor belongs to another listing")
    if isinstance(last, int) and not 0 <= last <= HIGHEST_KEY:
        raise InvalidCursor("cursor is not one of ours")
    return last


BUSY = "another process is at the same work; try again later"
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code of a statement that waited for longer than lock_timeout."""
KEEPALIVE = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
"""Has PostgreSQL notice within a minute that a holder's machine is gone; without effect on Unix sockets."""


class Locks(Transactions):
    """The locks of one tenant."""

    def alone(self, name: str, patience: float | None = None) -> AbstractContextManager[None]:
        """Hold the lock of this name within the context: one holder at a time, among all threads and processes on this
        database and for this tenant; waits for its turn. A process that dies gives way to the next. Not reentrant.
        Raises StoreUnavailable where it is not its turn within ``patience`` seconds.

        On PostgreSQL a session-level advisory lock (its documentation, section 13.3.5) on a connection of its own;
        beside a SQLite file a lock file, which stays there, empty."""
        digest = sha256(f"{self.tenant}\0{name}".encode()).digest()[:8]
        if self.engine.dialect.name == "sqlite":
            return self._with_file(digest.hex(), patience)
        return self._with_session(int.from_bytes(digest, signed=True), patience)

    @contextmanager
    def _with_file(self, name: str, patience: float | None) -> Iterator[None]:
        assert self.engine.url.database
        path = Path(self.engine.url.database).absolute()
        lock = FileLock(path.with_name(f"{path.name}-{name}.lock"), mode=0o600)
        try:
            lock.acquire(timeout=-1 if patience is None else patience)
        except Timeout as error:
            raise StoreUnavailable(BUSY) from error
        except OSError as error:
            raise StoreUnavailable(f"lock file can't be opened: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _with_session(self, number: int, patience: float | None) -> Iterator[None]:
        with translated():
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # not the pool's any more: holders that ask for further connections can't starve it
        try:
            with translated():
                _lock(connection, number, patience)
            yield
        finally:
            connection.close()  # ends the session, and the lock with it


def _lock(connection: Connection, number: int, patience: float | None) -> None:
    """Raises StoreUnavailable where another session holds it for longer than ``patience`` seconds."""
    milliseconds = 0 if patience is None else max(1, round(patience * 1000))  # 0: wait without end
    for setting in (*KEEPALIVE, "statement_timeout = 0", f"lock_timeout = {milliseconds}"):
        connection.execute(text(f"SET {setting}"))
    try:
        connection.execute(select(func.pg_advisory_lock(number)))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise StoreUnavailable(BUSY) from error
        raise
