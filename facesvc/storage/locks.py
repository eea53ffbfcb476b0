"""Work that one holder at a time may do, among all threads and processes on this database."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError

from facesvc.errors import StoreUnavailable
from facesvc.storage.transactions import Transactions, translated

BUSY = "another process is at the same work; try again later"
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code of a statement that waited for longer than lock_timeout."""
KEEPALIVE = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
"""Has PostgreSQL notice within a minute that a holder's machine is gone; without effect on Unix sockets."""


class Locks(Transactions):
    """The locks of one tenant; see core.ports.ReferenceStore."""

    def alone(self, name: str, patience: float | None = None) -> AbstractContextManager[None]:
        """On PostgreSQL a session-level advisory lock (its documentation, section 13.3.5) on a connection of its own;
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
