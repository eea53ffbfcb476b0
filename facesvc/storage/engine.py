"""Opens the database: one SQLAlchemy engine, made the same way for the service, the CLI and the migrations."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from facesvc.errors import StoreUnavailable
from facesvc.threads import Turns

WRITING = "facesvc_writing"
"""Execution option of connections that will write."""
TENANT = "facesvc_tenant"
"""Execution option of connections: whose rows there are for them, see migration 0001; "*" for everybody's."""
TURNS = "facesvc_turns"
"""Execution option of engines whose writers go one by one: their ``Turns``."""
BUSY_SECONDS = 20
"""How long a SQLite write waits for another process's, and a request for a pooled connection."""
CONNECT_SECONDS = 5

BOUNDED = ("statement_timeout", "idle_in_transaction_session_timeout")

PRAGMAS = (
    f"busy_timeout = {BUSY_SECONDS * 1000}",
    "journal_mode = WAL",  # readers don't wait for the writer
    # FULL syncs the log at each commit. NORMAL would survive kill -9 too, but a power failure could take back
    # acknowledged enrolments, or bring back acknowledged deletions.
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",  # deleted templates are overwritten with zeros, not just unlinked
)


def open_engine(url: str, statement_seconds: float | None = None) -> Engine:
    """An engine for ``sqlite:///file`` or ``postgresql+psycopg://...``. Raises StoreUnavailable for other URLs.

    statement_seconds: how long PostgreSQL works at one statement, and lets a transaction wait for its next one; None
    for as long as it takes.

    Connects at first use. A SQLite file is created readable by its owner alone.
    """
    try:
        target = make_url(url)
        if target.get_backend_name() == "sqlite":
            return _sqlite(target)
        if target.get_backend_name() == "postgresql":
            return _postgresql(target, statement_seconds)
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreUnavailable("database URL is not valid") from error
    raise StoreUnavailable(f"database {target.get_backend_name()!r} is not supported: use sqlite or postgresql")


@contextmanager
def connected(url: str, statement_seconds: float | None = None) -> Iterator[Engine]:
    """The same, whose connections are closed when the context ends."""
    engine = open_engine(url, statement_seconds)
    try:
        yield engine
    finally:
        engine.dispose()


def address(url: str) -> str:
    """Where the database is, the same for all who use it: without users, passwords and options."""
    target = make_url(url)
    if target.get_backend_name() == "sqlite":
        return f"sqlite:{Path(target.database or '').resolve()}"
    host = target.host or target.query.get("host", "localhost")
    return f"postgresql:{host}:{target.port or 5432}/{target.database}"


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.query:
        raise StoreUnavailable("SQLite needs a plain file: sqlite:///path/to/facesvc.db")
    _create_private(Path(url.database))
    engine = create_engine(url, pool_timeout=BUSY_SECONDS, hide_parameters=True, execution_options={TURNS: Turns()})
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _postgresql(url: URL, statement_seconds: float | None) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,  # tracebacks tell of statements, not of the people in them
        pool_pre_ping=True,  # a restarted server costs no request
        pool_timeout=BUSY_SECONDS,
        connect_args={"connect_timeout": CONNECT_SECONDS},
    )
    if statement_seconds is not None:
        event.listen(engine, "connect", partial(_bound, milliseconds=round(statement_seconds * 1000)))
    event.listen(engine, "begin", _name_tenant)
    return engine


def _bound(connection: Any, _record: object, milliseconds: int) -> None:
    """Ends what takes too long, and transactions that were left open, at the database: a process that hangs holds
    neither its connections nor others' locks for ever."""
    with connection.cursor() as cursor:
        for setting in BOUNDED:
            cursor.execute(f"SET {setting} = {milliseconds}")
    connection.commit()


def _name_tenant(connection: Connection) -> None:
    """Tells PostgreSQL whose rows there are until the transaction ends; nobody's where the connection names none."""
    tenant = connection.get_execution_options().get(TENANT)
    if tenant is not None:
        connection.exec_driver_sql("SELECT set_config('facesvc.tenant', %s, true)", (tenant,))


def _create_private(path: Path) -> None:
    """A file that is there is left alone: to close any descriptor of it would take the locks of this process's other
    connections from them, and a process that ends would then take their log away (sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # its -wal and -shm files take the same mode
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"database file can't be opened: {error.strerror}") from error


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver starts no transactions of its own: _begin does
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """A transaction that will write takes the lock at once: a reader's snapshot that turns writer late fails
    with SQLITE_BUSY however long it is ready to wait."""
    writing = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def writers_turn(engine: Engine) -> Iterator[None]:
    """Writers of this process to a SQLite file, one by one as they came. SQLite itself has them ask again after pauses
    of up to a tenth of a second, and whoever asks at the right moment is next (``sqliteDefaultBusyCallback``): under
    load some wait for many seconds while others pass. Other processes' writers are still met at the file.

    Raises StoreUnavailable where the turn did not come in time.
    """
    turns: Turns | None = engine.get_execution_options().get(TURNS)
    if turns and not turns.take(BUSY_SECONDS):
        raise StoreUnavailable("too many writers wait for the database; try again in a moment")
    try:
        yield
    finally:
        if turns:
            turns.give_back()


def wipe_log(engine: Engine) -> None:
    """After a deletion: moves SQLite's write-ahead log into the database and empties it, since the log still holds
    the deleted bytes. Gives way to readers in progress; then the next deletion or the last connection's close does
    it. PostgreSQL keeps dead rows until it vacuums; nothing to do from here."""
    if engine.dialect.name != "sqlite":
        return
    # The deletion itself is committed.
    with suppress(SQLAlchemyError, sqlite3.Error, StoreUnavailable), writers_turn(engine):
        connection = engine.raw_connection()
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA busy_timeout = 100")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.fetchall()
        finally:
            cursor.execute(f"PRAGMA {PRAGMAS[0]}")
            connection.close()
