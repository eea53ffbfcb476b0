"""Vectors in PostgreSQL with the extension pgvector: a table of the database as an index, for all who share it.

Keeps galleries' indexes in PostgreSQL with pgvector, for all service processes on one database together.

A gallery's templates of one version are a table. A row of a further table says up to which revision it has come; it is
written in one transaction with the changes, and who writes holds its lock. The tables lie in a schema of their own;
names tell the gallery's number, never what it or anybody in it is called.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
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
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from facesvc.core.types import DIMENSION, Gallery, Vectors
from facesvc.errors import IndexUnavailable
from facesvc.index.flat import checked_keys, checked_vectors
from facesvc.index.homes import IndexLost, PlacedIndex, Version, name_of, version_of

SCHEMA = "facesvc_vectors"
"""Of the engine's own tables, which no migration knows of: the extension may be absent."""
EXACT_UNTIL = 100_000
"""References that are scanned whole: until then it takes hardly longer than a search in a graph (docs/search.md)."""
GRAPH = "hnsw (vector vector_l2_ops) WITH (m = 24, ef_construction = 128)"
BUILD_MEMORY = "512MB"
"""For a graph's construction: what does not fit is built at a tenth of the speed."""
SEEN, MORE, MOST_SEEN = 800, 4, 1_000
"""Candidates that a search in the graph keeps: at least, times the neighbours that are asked for, and at most
(hnsw.ef_search); who asks for more is answered by a scan."""
CALL_SECONDS, LOCK_SECONDS = 30, 30
GONE = ("42P01", "3F000")
"""PostgreSQL's codes for a table or a schema that is not there."""


@contextmanager
def translating_errors() -> Iterator[None]:
    """Turn failures of PostgreSQL into IndexUnavailable, or IndexLost where a table is not there."""
    import psycopg

    try:
        yield
    except (SQLAlchemyError, psycopg.Error) as error:
        if getattr(getattr(error, "orig", error), "sqlstate", None) in GONE:
            raise IndexLost("a table is not there any more") from error
        raise IndexUnavailable("PostgreSQL does not answer as it should") from error


@contextmanager
def transaction(engine: Engine, seconds: int = CALL_SECONDS) -> Iterator[Connection]:
    """Committed at the end. seconds: the longest that a statement may take; 0: without end. Raises IndexUnavailable."""
    with translating_errors(), engine.begin() as connection:
        limit(connection, seconds)
        yield connection


def limit(connection: Connection, seconds: int) -> None:
    """For the transaction: the longest that a statement may take, and that it may wait for others' locks."""
    for setting, value in (("statement_timeout", seconds), ("lock_timeout", LOCK_SECONDS)):
        put(connection, setting, f"{value}s")


def put(connection: Connection, setting: str, value: str) -> None:
    """SET LOCAL, which takes no parameters."""
    connection.execute(select(func.set_config(setting, value, True)))


def require_client() -> None:
    """Raises IndexUnavailable where pgvector's Python package is not installed."""
    if find_spec("pgvector") is None:
        raise IndexUnavailable("the client of pgvector is not installed: pip install 'facesvc[pgvector]'")


class PgVectorIndex:
    """core.ports.TemplateIndex in a table, which is there (``create``).

    Up to ``exact_until`` references, or where many neighbours are asked for, the shortlist is the k nearest, exactly.
    Beyond, an HNSW graph is searched, approximately: with several times k candidates, and on where removed rows came
    out (iterative scans, pgvector 0.8); whoever gets fewer than there are is answered by a scan. Yet one of the k
    nearest may be missing (tests/contract/test_engine_graphs.py measures how often).
    """

    kind = "pgvector"
    nbytes = 0

    def __init__(self, engine: Engine, name: str, dimension: int = DIMENSION, exact_until: int = EXACT_UNTIL) -> None:
        from pgvector.sqlalchemy import VECTOR

        self.name, self.dimension = name, dimension
        self._engine, self._exact_until = engine, exact_until
        self._key = Column("key", BigInteger, primary_key=True, autoincrement=False)
        self._vector = Column("vector", VECTOR(dimension), nullable=False)
        self._table = Table(name, MetaData(), self._key, self._vector, schema=SCHEMA)
        self._bound: Connection | None = None

    # --- the table ----------------------------------------------------------------------------------

    def create(self, connection: Connection) -> None:
        """Makes the table, empty, in place of one that may be there."""
        self._table.drop(connection, checkfirst=True)
        self._table.create(connection)

    def exists(self, connection: Connection) -> bool:
        return self._relation(connection, self.name)

    @contextmanager
    def within(self, connection: Connection) -> Iterator[None]:
        """Additions and removals are of this transaction, until the context ends; they may come from one thread."""
        self._bound = connection
        try:
            yield
        finally:
            self._bound = None

    def build_graph(self) -> None:
        """Makes the graph where there are many references and none yet; a minute for each 100,000."""
        with self._writing() as connection:
            if self._has_graph(connection) or self._count(connection) <= self._exact_until:
                return
            limit(connection, 0)
            put(connection, "maintenance_work_mem", BUILD_MEMORY)
            connection.execute(text(f'CREATE INDEX "{self.name}_graph" ON {SCHEMA}."{self.name}" USING {GRAPH}'))

    # --- core.ports.TemplateIndex -------------------------------------------------------------------

    def __len__(self) -> int:
        with transaction(self._engine) as connection:
            return self._count(connection)

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Raises StoreError for vectors that are not (n d) and finite, IndexUnavailable."""
        vectors = checked_vectors(vectors, self.dimension)
        last = dict(zip(checked_keys(keys, len(vectors)).tolist(), vectors, strict=True))
        if not last:
            return
        with self._writing() as connection:
            self._delete(connection, sorted(last))
            self._copy(connection, last)

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Raises IndexUnavailable."""
        if len(keys):
            with self._writing() as connection:
                self._delete(connection, np.unique(keys).tolist())

    def search(self, probes: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Raises StoreError for probes that are not (n d) and finite, IndexUnavailable."""
        probes = checked_vectors(probes, self.dimension)
        with transaction(self._engine) as connection:
            found = [self._nearest(connection, probe, k) for probe in probes] if k > 0 else []
        width = len(found[0]) if found else min(max(k, 0), len(self))
        nearest = np.array(found, np.float64).reshape(len(probes), width, 2)
        return np.square(nearest[:, :, 0]).astype(np.float32), nearest[:, :, 1].astype(np.int64)

    # --- parts --------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if self._bound is None:
            with transaction(self._engine, seconds=0) as connection:
                yield connection
        else:
            with translating_errors():
                yield self._bound

    def _count(self, connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(self._table)).scalar_one()

    def _delete(self, connection: Connection, keys: list[int]) -> None:
        connection.execute(delete(self._table).where(self._key == func.any(keys)))

    def _copy(self, connection: Connection, rows: dict[int, Vectors]) -> None:
        from pgvector.psycopg import register_vector

        driver = connection.connection.driver_connection
        assert driver is not None
        register_vector(driver)
        statement = f'COPY {SCHEMA}."{self.name}" (key, vector) FROM STDIN (FORMAT BINARY)'
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(["int8", "vector"])
            for key, vector in rows.items():
                copy.write_row((key, vector))

    def _nearest(self, connection: Connection, probe: Vectors, k: int) -> list[tuple[float, int]]:
        """The k nearest, or all there are: distances (the root of ours), ascending, and keys."""
        distance = self._vector.l2_distance(probe)  # type: ignore[attr-defined]  # of pgvector's type
        seen = max(SEEN, MORE * k)
        if seen <= MOST_SEEN:
            put(connection, "hnsw.ef_search", str(seen))
            put(connection, "hnsw.iterative_scan", "strict_order")
            found = self._ordered(connection, distance, k)
            if len(found) == k:
                return found
        return self._ordered(connection, distance + 0, k)  # a sum is nothing that the graph is in the order of

    def _ordered(self, connection: Connection, distance: ColumnElement[float], k: int) -> list[tuple[float, int]]:
        rows = connection.execute(select(distance, self._key).order_by(distance).limit(k))
        return [(near, key) for near, key in rows]

    def _has_graph(self, connection: Connection) -> bool:
        return self._relation(connection, f"{self.name}_graph")

    def _relation(self, connection: Connection, name: str) -> bool:
        found = connection.execute(select(func.to_regclass(f'{SCHEMA}."{name}"'))).scalar_one()
        return found is not None


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
    """index.homes.PlacedIndex as a table."""

    def __init__(self, engine: Engine, index: PgVectorIndex, made: datetime, revision: int) -> None:
        self.index, self.revision = index, revision
        self._engine, self._made = engine, made
        self._connection: Connection | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raises IndexLost where the table was deleted, IndexUnavailable."""
        with translating_errors(), self._engine.connect() as connection, self.index.within(connection):
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
        with translating_errors():
            connection.execute(update(STANDINGS).where(STANDINGS.c.name == self.index.name).values(revision=revision))
            self.index.build_graph()
            connection.commit()
            self._begin(connection)

    def _begin(self, connection: Connection) -> None:
        """Locks the row; another process may have come further in between."""
        limit(connection, 0)
        known = locked(connection, self.index.name)
        if known is None or known[0] != self._made:
            raise IndexLost("a table is not there any more")
        self.revision = known[1]


class PgVectorHome:
    """index.homes.IndexHome in the database of an engine that is used for nothing else: who writes keeps a connection
    while it reads changes over another. tenant: whose indexes these are; others' are left alone."""

    def __init__(self, engine: Engine, tenant: str, exact_until: int = EXACT_UNTIL) -> None:
        """Raises IndexUnavailable where the database is not PostgreSQL, or the client is not installed."""
        if engine.dialect.name != "postgresql":
            raise IndexUnavailable("pgvector is an extension of PostgreSQL: the database has to be one")
        require_client()
        self._engine, self._tenant, self._exact_until = engine, tenant, exact_until

    def open(self, gallery: Gallery) -> PlacedIndex:
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

    def update_files(self, gallery: Gallery, kept: PlacedIndex | None) -> None:
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
        with translating_errors(), connection.begin_nested():
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
