"""Vectors in PostgreSQL with the extension pgvector: a table of the database as an index, for all who share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    Table,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from facesvc.core.types import DIMENSION, Vectors
from facesvc.errors import IndexUnavailable
from facesvc.index.borders import checked_keys, checked_vectors
from facesvc.index.keeping import IndexLost

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
def told() -> Iterator[None]:
    """PostgreSQL's failures within as IndexUnavailable, or IndexLost where a table is not there."""
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
    with told(), engine.begin() as connection:
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

    def tend(self) -> None:
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
            with told():
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
