"""Galleries in vector engines, for benchmarks.search: Milvus Lite as a server of its own process, pgvector in a
PostgreSQL of the benchmark's. Their vectors are not in this process; bytes a face are those of their files."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import create_engine, text

from benchmarks.galleries import CHUNK
from benchmarks.search import Gallery, K, recall, timed, whole_search, writes
from facesvc.core.ports import TemplateIndex
from facesvc.index.milvus import MilvusIndex, MilvusServer
from facesvc.index.pgvector import SCHEMA, PgVectorIndex, prepare, transaction

NAME = "benchmark"
NEVER = 10**12


@dataclass(frozen=True)
class Engine:
    """index: empty. finish: what is left to do once it is filled. stored: bytes of its files."""

    index: TemplateIndex
    finish: Callable[[], None]
    stored: Callable[[], int]


@contextmanager
def milvus_lite() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
        free.close()
        command = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
        with subprocess.Popen(
            [*command, "--data-dir", folder, "--port", port],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                assert process.stdout is not None
                assert b"listening" in process.stdout.readline()
                server = MilvusServer(f"http://127.0.0.1:{port}")
                index = MilvusIndex(server, NAME)
                index.create()

                def finish() -> None:
                    with server.asked() as client:
                        client.flush(NAME)

                yield Engine(index, finish, lambda: size(Path(folder)))
            finally:
                process.kill()


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def pgvector(graph: bool) -> Callable[[], AbstractContextManager[Engine]]:
    """graph: searched by HNSW, else every vector is scanned."""

    @contextmanager
    def opened() -> Iterator[Engine]:
        from tests.support.databases import postgresql

        with postgresql() as url:
            engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
            index = PgVectorIndex(engine, NAME, exact_until=0 if graph else NEVER)
            with transaction(engine) as connection:
                prepare(connection)
                index.create(connection)

            def finish() -> None:
                if graph:
                    index.build_graph()
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text(f"VACUUM ANALYZE {SCHEMA}.{NAME}"))

            def stored() -> int:
                with engine.connect() as connection:
                    asked = text(f"SELECT pg_total_relation_size('{SCHEMA}.{NAME}')")
                    return connection.execute(asked).scalar_one()

            yield Engine(index, finish, stored)
            engine.dispose()

    return opened


ENGINES: Mapping[str, Callable[[], AbstractContextManager[Engine]]] = {
    "pgvector-scan": pgvector(graph=False),
    "pgvector-hnsw": pgvector(graph=True),
    "milvus-lite": milvus_lite,
}


@dataclass(frozen=True)
class EngineFigures:
    """Of one engine at one size. Times in ms, through the client, as the service asks: search, add, delete."""

    kind: str
    size: int
    bytes_a_face: float
    build_s: float
    ours_p50: float
    ours_p99: float
    recall_1: float
    recall_10: float
    add_ms: float
    delete_ms: float
    delete_p99_ms: float


def measure_engine(name: str, gallery: Gallery, progress: Progress) -> EngineFigures:
    with ENGINES[name]() as engine:
        build_s = build(name, engine, gallery, progress)
        stored = engine.stored() / gallery.size
        spent, answers = [], []
        for probe in progress.track(gallery.probes, description=f"{name}: searching"):
            milliseconds, best = timed(lambda probe=probe: whole_search(engine.index, gallery, probe)[1])
            spent.append(milliseconds)
            answers.append(best[:10])
        return EngineFigures(
            name,
            gallery.size,
            stored,
            build_s,
            *(float(np.percentile(spent, at)) for at in (50, 99)),
            **recall(answers, gallery),
            **writes(engine.index, gallery),
        )


def build(name: str, engine: Engine, gallery: Gallery, progress: Progress) -> float:
    """Seconds until it can be searched as it is meant to be."""
    start = time.perf_counter()
    for first in progress.track(range(0, gallery.size, CHUNK), description=f"{name}: adding"):
        last = min(first + CHUNK, gallery.size)
        engine.index.add(np.arange(first, last), gallery.vectors[first:last])
    engine.finish()
    return time.perf_counter() - start


def show_engines(reports: Sequence[EngineFigures]) -> None:
    table = Table(title=f"vector engines, search of {K} neighbours, through their clients; ms")
    for name in ("engine", "faces", "bytes a face", "build s", "p50", "p99", "recall@1, @10", "add, delete"):
        table.add_column(name, no_wrap=True)
    for f in reports:
        times = f"{f.ours_p50:.2f}", f"{f.ours_p99:.2f}"
        found, writing = f"{f.recall_1:.4f}, {f.recall_10:.4f}", f"{f.add_ms:.2f}, {f.delete_ms:.2f}"
        table.add_row(f.kind, f"{f.size:,}", f"{f.bytes_a_face:.0f}", f"{f.build_s:.1f}", *times, found, writing)
    Console(width=140).print(table)
