"""Real vector engines for tests: a Milvus server in a process of its own, and tables in the tests' PostgreSQL."""

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from facesvc.core.ports import TemplateIndex
from facesvc.index.homes import IndexHome
from facesvc.index.milvus import MilvusHome, MilvusIndex, MilvusServer
from facesvc.index.pgvector import PgVectorHome, PgVectorIndex, prepare, transaction
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store

ENGINES = ("milvus", "pgvector")
ENGINE_PARAMETERS = [pytest.param(engine, marks=pytest.mark.xdist_group("engines")) for engine in ENGINES]
"""For fixtures. One worker runs them all: a Milvus server takes some seconds to start."""


class MilvusProcess:
    """Milvus Lite as a server over a folder: the protocol, and the client, of a Milvus cluster. It can be killed and
    come back at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns once it listens."""
        where = ("--data-dir", str(self._folder), "--host", "127.0.0.1", "--port", str(self._port))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "milvus_lite", "server", *where],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "listening" in line, line

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def milvus(folder: Path) -> Iterator[MilvusProcess]:
    process = MilvusProcess(folder)
    try:
        process.start()
        yield process
    finally:
        process.kill()


class EngineHomes:
    """Makes homes over one place in each engine, as processes of one service would."""

    def __init__(self, milvus_uri: str, vectors: str, owner: str | None = None) -> None:
        self.owner = owner or uuid.uuid4().hex[:16]
        self.milvus_uri, self.vectors = milvus_uri, vectors
        self._engines: list[Engine] = []

    def __call__(self, engine: str, store: Store) -> IndexHome:
        if engine == "milvus":
            return MilvusHome(MilvusServer(self.milvus_uri), self.owner, store.locks.alone)
        self._engines.append(open_engine(self.vectors))
        return PgVectorHome(self._engines[-1], store.tenant)

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()


class EngineOpeners:
    """What makes an empty index in an engine, as ``tests.contract.indexes.KINDS`` does in memory."""

    def __init__(self, milvus_uri: str, database: str) -> None:
        self._milvus = MilvusServer(milvus_uri)
        self.database = open_engine(database)
        self._numbers = count()
        with transaction(self.database) as connection:
            prepare(connection)

    def opener(self, engine: str) -> Callable[..., TemplateIndex]:
        return {"milvus": self.milvus, "pgvector": self.pgvector}[engine]

    def milvus(self, **options: Any) -> MilvusIndex:
        index = MilvusIndex(self._milvus, f"test_{os.getpid()}_{next(self._numbers)}", **options)
        index.create()
        return index

    def pgvector(self, **options: Any) -> PgVectorIndex:
        index = PgVectorIndex(self.database, f"test_{next(self._numbers)}", **options)
        with transaction(self.database) as connection:
            index.create(connection)
        return index

    def close(self) -> None:
        self.database.dispose()
