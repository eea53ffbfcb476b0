"""Keeps galleries' indexes in PostgreSQL with pgvector, for all service processes on one database together.

A gallery's templates of one version are a table. A row of a further table says up to which revision it has come; it is
written in one transaction with the changes, and who writes holds its lock. The tables lie in a schema of their own;
names tell the gallery's number, never what it or anybody in it is called.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Engine,
    MetaData,
    String,
    Table,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateSchema

from facesvc.core.types import Gallery
from facesvc.errors import IndexUnavailable
from facesvc.index.keeping import IndexLost, Kept, Version, name_of, version_of
from facesvc.index.pgvector import EXACT_UNTIL, SCHEMA, PgVectorIndex, limit, require_client, told, transaction

PREPARING = 0x66616365  # "face"
"""Advisory lock of whoever makes the schema."""
ADVICE = "have an administrator install pgvector and run CREATE EXTENSION vector"
STANDINGS = Table(
    "standings",
    MetaData(),
    Column("name", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("gallery_key", BigInteger, nullable=False),
    Column("made", DateTime(timezone=True), nullable=False),
    Column("revision", BigInteger, nullable=False),
    schema=SCHEMA,
)
"""What is known of the tables. made: when the gallery was."""


class InPostgres:
    """index.keeping.Kept as a table."""

    def __init__(self, engine: Engine, index: PgVectorIndex, made: datetime, revision: int) -> None:
        self.index, self.revision = index, revision
        self._engine, self._made = engine, made
        self._connection: Connection | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raises IndexLost where the table was deleted, IndexUnavailable."""
        with told(), self._engine.connect() as connection, self.index.within(connection):
            self._connection = connection
            try:
                self._begin(connection)
                yield
            finally:
                self._connection = None

    def reached(self, revision: int) -> None:
        """Commits what was written since the last time."""
        connection = self._connection
        assert connection is not None
        with told():
            connection.execute(update(STANDINGS).where(STANDINGS.c.name == self.index.name).values(revision=revision))
            self.index.tend()
            connection.commit()
            self._begin(connection)

    def _begin(self, connection: Connection) -> None:
        """Locks the row; another process may have come further in between."""
        limit(connection, 0)
        known = locked(connection, self.index.name)
        if known is None or known[0] != self._made:
            raise IndexLost("a table is not there any more")
        self.revision = known[1]


class PgVectorKeeper:
    """index.keeping.Keeper in the database of an engine that is used for nothing else: who writes keeps a connection
    while it reads changes over another. tenant: whose indexes these are; others' are left alone."""

    def __init__(self, engine: Engine, tenant: str, exact_until: int = EXACT_UNTIL) -> None:
        """Raises IndexUnavailable where the database is not PostgreSQL, or the client is not installed."""
        if engine.dialect.name != "postgresql":
            raise IndexUnavailable("pgvector is an extension of PostgreSQL: the database has to be one")
        require_client()
        self._engine, self._tenant, self._exact_until = engine, tenant, exact_until

    def open(self, gallery: Gallery) -> Kept:
        """Raises IndexUnavailable."""
        name = table_of(version_of(gallery))
        index = PgVectorIndex(self._engine, name, exact_until=self._exact_until)
        made = gallery.created_at
        row = {"name": name, "tenant": self._tenant, "gallery_key": gallery.key, "made": made, "revision": 0}
        with transaction(self._engine) as connection:
            if not is_prepared(connection):
                prepare(connection)
            connection.execute(insert(STANDINGS).values(row).on_conflict_do_nothing())
            known = locked(connection, name)
            assert known is not None
            if known[0] == made and index.exists(connection):
                return InPostgres(self._engine, index, made, known[1])
            index.create(connection)
            connection.execute(update(STANDINGS).where(STANDINGS.c.name == name).values(row))
        return InPostgres(self._engine, index, made, 0)

    def tend(self, gallery: Gallery, kept: Kept | None) -> None:
        """There is nothing on disk."""

    def elsewhere(self, gallery: Gallery) -> bool:
        return True

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        """None."""
        return np.empty(0, np.int64)

    def drop(self, gallery: Gallery) -> None:
        """Raises IndexUnavailable; then ``sweep`` finds what is left."""
        with transaction(self._engine) as connection:
            for name in self._names(connection, gallery.key):
                self._delete(connection, name)

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        """Raises IndexUnavailable."""
        with transaction(self._engine) as connection:
            kept = self._names(connection)
        known = {table_of(version) for version in living()} if kept else set()
        residue = [name for name in kept if name not in known]
        for name in residue:
            with transaction(self._engine) as connection:
                self._delete(connection, name)
        return [f"pgvector table {name}" for name in residue]

    def describe(self) -> str:
        """What answers, and how much of ours it keeps. Raises IndexUnavailable, also where there is no extension and it
        has still to be installed."""
        with transaction(self._engine) as connection:
            release = connection.execute(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")).scalar()
            kept = self._names(connection)
        if release is None:
            raise IndexUnavailable(f"this database has no extension vector: {ADVICE}")
        return f"pgvector {release} keeps {len(kept)} indexes of this database"

    def _names(self, connection: Connection, gallery_key: int | None = None) -> list[str]:
        if not is_prepared(connection):
            return []
        query = select(STANDINGS.c.name).where(STANDINGS.c.tenant == self._tenant).order_by(STANDINGS.c.name)
        if gallery_key is not None:
            query = query.where(STANDINGS.c.gallery_key == gallery_key)
        return list(connection.execute(query).scalars())

    def _delete(self, connection: Connection, name: str) -> None:
        connection.execute(delete(STANDINGS).where(STANDINGS.c.name == name))  # waits for who writes
        connection.execute(text(f'DROP TABLE IF EXISTS {SCHEMA}."{name}"'))


def is_prepared(connection: Connection) -> bool:
    """Whether the schema is there: where no gallery was ever kept, nothing is made to look for some."""
    return connection.execute(select(func.to_regclass(f"{SCHEMA}.standings"))).scalar_one() is not None


def prepare(connection: Connection) -> None:
    """Makes what is not there yet: extension, schema, table of standings. Raises IndexUnavailable without the
    extension."""
    connection.execute(select(func.pg_advisory_xact_lock(PREPARING)))
    if not connection.execute(text("SELECT 1 FROM pg_extension WHERE extname = 'vector'")).scalar():
        create_extension(connection)
    connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
    STANDINGS.create(connection, checkfirst=True)


def create_extension(connection: Connection) -> None:
    try:
        with told(), connection.begin_nested():
            connection.execute(text("CREATE EXTENSION vector"))
    except IndexUnavailable as error:
        raise IndexUnavailable(f"this database has no extension vector: {ADVICE}") from error


def locked(connection: Connection, name: str) -> tuple[datetime, int] | None:
    """When the gallery of a table was made, and the table's revision; no one else's to write until the transaction
    ends."""
    query = select(STANDINGS.c.made, STANDINGS.c.revision).where(STANDINGS.c.name == name).with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.made, row.revision)


def table_of(version: Version) -> str:
    return f"gallery_{name_of(version)}"
