"""Vectors in Milvus: a server or a cluster that several service processes share, and one collection of it as an index.

Squared L2 is what Milvus calls L2 (its documentation, "Metric Types"). Every read asks for consistency "Strong", so it
sees each write that any client was told of before.

The nearest of vectors that come in pieces: for what is too large to be held, and must be exact all the same.

Keeps galleries' indexes in Milvus, for all service processes on one database together.

A gallery's templates of one version are a collection. A further, small collection says of each up to which revision it
has come. It is written after the changes themselves: changes that a killed process left half done are made again by
the next, which leaves the same. Names tell the gallery's number, never what it or anybody in it is called.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Gallery, Vectors
from facesvc.errors import IndexUnavailable
from facesvc.index.flat import checked_keys, checked_vectors
from facesvc.index.homes import Alone, IndexLost, PlacedIndex, Version, name_of, version_of


def scan(
    pieces: Iterable[tuple[NDArray[np.int64], Vectors]], probes: Vectors, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Keys (m,) and vectors (m d) in pieces, probes (n d) -> the k nearest of all of them, or as many as there are:
    distances (n k) squared L2, ascending, and keys (n k)."""
    distances = np.empty((len(probes), 0), np.float32)
    keys = np.empty((len(probes), 0), np.int64)
    for piece_keys, vectors in pieces:
        own = np.stack([np.square(vectors.astype(np.float64) - probe).sum(axis=1) for probe in probes])
        distances = np.hstack([distances, own.astype(np.float32)])
        keys = np.hstack([keys, np.broadcast_to(piece_keys, own.shape)])
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(distances, nearest, axis=1)
        keys = np.take_along_axis(keys, nearest, axis=1)
    return distances, keys


if TYPE_CHECKING:
    from pymilvus import MilvusClient

SearchedBy = Literal["FLAT", "HNSW"]
Searched = tuple[NDArray[np.float32], NDArray[np.int64]]

CONNECT_SECONDS, CALL_SECONDS, LOAD_SECONDS = 10.0, 30.0, 120.0
"""Time-outs: to reach the server, for a call, and for what makes or loads a collection."""
GONE = (100, 101)
"""Milvus's codes for a collection that is not there, or not ready to be searched: somebody released it."""
VECTORS_AT_ONCE, KEYS_AT_ONCE = 5_000, 10_000
"""In one call: 2.6 MB of the 64 that a server takes by default (proxy.grpc.serverMaxRecvSize); and keys to delete."""
PROBES_AT_ONCE = 100
MOST_NEIGHBOURS = 16_384
"""Of one search, by Milvus's limits (quotaAndLimits.limits.topK); more are looked for by reading the collection."""
HNSW_BUILD, HNSW_SEEN, HNSW_MORE = {"M": 32, "efConstruction": 200}, 512, 4
"""An HNSW graph's parameters; the candidates that a search in it keeps: at least, and times the neighbours that are
asked for."""
STRONG: dict[str, Any] = {"consistency_level": "Strong"}
KEY, VECTOR = "id", "vector"

QUIET = {"grpc.keepalive_time_ms": 330_000, "grpc.keepalive_permit_without_calls": False}
"""The client pings every 10 s by default, and gRPC servers as they come allow it every 5 minutes: they close a
connection with "too many pings", and the request under way fails. Dead peers are found by the calls' time-outs."""


class MilvusServer:
    """A connection made on first use, and again after it broke; its failures are IndexUnavailable, or IndexLost where
    a collection is not there. Thread-safe. Raises IndexUnavailable where the client is not installed."""

    def __init__(self, uri: str, token: str | None = None) -> None:
        if find_spec("pymilvus") is None:
            raise IndexUnavailable("the client of Milvus is not installed: pip install 'facesvc[milvus]'")
        self._uri, self._token = uri, token
        self._client: MilvusClient | None = None
        self._connecting = Lock()

    @contextmanager
    def asked(self) -> Iterator["MilvusClient"]:
        """The client; what it raises within is told in our errors. Details stay in the exception's cause: they name
        hosts."""
        import grpc
        from pymilvus import MilvusException

        try:
            yield self._connected()
        except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
            if getattr(error, "code", None) in GONE:
                raise IndexLost("a collection is not there any more") from error
            raise IndexUnavailable("Milvus does not answer as it should") from error

    def _connected(self) -> "MilvusClient":
        from pymilvus import MilvusClient

        # It logs each failure as an error with a trace, which would be told twice, and over and over while it is away.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        with self._connecting:
            if self._client is None:
                self._client = MilvusClient(
                    self._uri, token=self._token or "", timeout=CONNECT_SECONDS, grpc_options=QUIET
                )
            return self._client


class MilvusIndex:
    """core.ports.TemplateIndex in the collection ``name``, which is there (``create``).

    Searched by FLAT, the shortlist is the k nearest, exactly. HNSW is approximate: it keeps several times k candidates,
    and whoever gets fewer than there are is answered by reading the whole collection; yet one of the k nearest may be
    missing (tests/contract/test_engine_graphs.py measures how often).
    """

    kind = "milvus"
    nbytes = 0

    def __init__(
        self, server: MilvusServer, name: str, dimension: int = DIMENSION, searched_by: SearchedBy = "FLAT"
    ) -> None:
        self.name, self.dimension = name, dimension
        self.searched_by: SearchedBy = searched_by
        self._server = server
        self._writing = Lock()

    def create(self) -> None:
        """Makes the collection, empty, in place of one that may be there, ready to be searched."""
        from pymilvus import DataType

        build = HNSW_BUILD if self.searched_by == "HNSW" else {}
        with self._server.asked() as client:
            client.drop_collection(self.name, timeout=LOAD_SECONDS)
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field(KEY, DataType.INT64, is_primary=True)
            schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=self.dimension)
            index = client.prepare_index_params()
            index.add_index(VECTOR, index_type=self.searched_by, metric_type="L2", params=build)
            client.create_collection(self.name, schema=schema, index_params=index, timeout=LOAD_SECONDS, **STRONG)

    def load(self) -> None:
        """Has the server keep the collection ready to be searched; nothing where it does. Raises IndexLost."""
        with self._server.asked() as client:
            client.load_collection(self.name, timeout=LOAD_SECONDS)

    def clear(self) -> None:
        """Forgets every key."""
        with self._writing, self._server.asked() as client:
            client.delete(self.name, filter=f"{KEY} >= {np.iinfo(np.int64).min + 1}", timeout=LOAD_SECONDS)

    def __len__(self) -> int:
        with self._server.asked() as client:
            rows = client.query(self.name, output_fields=["count(*)"], timeout=CALL_SECONDS, **STRONG)
        return int(rows[0]["count(*)"])

    def add(self, keys: NDArray[np.int64], vectors: Vectors) -> None:
        """Raises StoreError for vectors that are not (n d) and finite, IndexUnavailable."""
        vectors = checked_vectors(vectors, self.dimension)
        last = dict(zip(checked_keys(keys, len(vectors)).tolist(), vectors, strict=True))  # a call takes a key once
        rows = [{KEY: key, VECTOR: vector} for key, vector in last.items()]
        with self._writing, self._server.asked() as client:
            for start in range(0, len(rows), VECTORS_AT_ONCE):
                client.upsert(self.name, rows[start : start + VECTORS_AT_ONCE], timeout=CALL_SECONDS)

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Raises IndexUnavailable."""
        unique = np.unique(keys).tolist()
        with self._writing, self._server.asked() as client:
            for start in range(0, len(unique), KEYS_AT_ONCE):
                client.delete(self.name, ids=unique[start : start + KEYS_AT_ONCE], timeout=CALL_SECONDS)

    def search(self, probes: Vectors, k: int) -> Searched:
        """Raises StoreError for probes that are not (n d) and finite, IndexUnavailable."""
        probes = checked_vectors(probes, self.dimension)
        if k < 1 or not len(probes):
            return shortlists([], len(probes), min(max(k, 0), len(self)))
        if k > MOST_NEIGHBOURS:
            return scan(self._entries(), probes, k)
        found = self._neighbours(probes, k)
        fewest = min(len(distances) for distances, _ in found)
        if fewest < k and fewest < min(k, len(self)):
            return scan(self._entries(), probes, k)
        return shortlists(found, len(probes), max(len(distances) for distances, _ in found))

    def _neighbours(self, probes: Vectors, k: int) -> list[Searched]:
        """For each probe up to k distances, ascending, and their keys."""
        seen = {} if self.searched_by == "FLAT" else {"ef": max(HNSW_SEEN, HNSW_MORE * k)}
        asking: dict[str, Any] = {"anns_field": VECTOR, "output_fields": [KEY], "timeout": CALL_SECONDS, **STRONG}
        found: list[Searched] = []
        with self._server.asked() as client:
            for start in range(0, len(probes), PROBES_AT_ONCE):
                batch = list(probes[start : start + PROBES_AT_ONCE])
                params = {"metric_type": "L2", "params": seen}
                for hits in client.search(self.name, batch, limit=k, search_params=params, **asking):
                    near = [(hit["distance"], hit[KEY]) for hit in hits]
                    distances = np.array([distance for distance, _ in near], np.float32)
                    found.append((distances, np.array([key for _, key in near], np.int64)))
        return found

    def _entries(self) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        """Keys (n,) and vectors (n d), in pieces."""
        asking: dict[str, Any] = {"output_fields": [KEY, VECTOR], "timeout": CALL_SECONDS, **STRONG}
        with self._server.asked() as client:
            pages = client.query_iterator(self.name, batch_size=VECTORS_AT_ONCE, **asking)
            try:
                while rows := pages.next():
                    keys = np.array([row[KEY] for row in rows], np.int64)
                    yield keys, np.array([row[VECTOR] for row in rows], np.float32)
            finally:
                pages.close()


def shortlists(found: list[Searched], probes: int, width: int) -> Searched:
    """(n m) distances and keys of lists of different lengths, filled up with key -1 at distance inf."""
    distances = np.full((probes, width), np.inf, np.float32)
    keys = np.full((probes, width), -1, np.int64)
    for i, (own_distances, own_keys) in enumerate(found):
        distances[i, : len(own_distances)], keys[i, : len(own_keys)] = own_distances, own_keys
    return distances, keys


if TYPE_CHECKING:
    from pymilvus import MilvusClient

PATIENCE_SECONDS = 30.0
"""How long a search waits for another process that makes or fills the index; then it is refused for the time being."""
NAME_LENGTH, MADE_LENGTH = 128, 64


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a collection. made: when its gallery was; another database may give the same number again."""

    name: str
    made: str
    revision: int


class Standings:
    """The collection of what is known of the others; made when it is first needed, or was deleted."""

    def __init__(self, server: MilvusServer, name: str, alone: Alone) -> None:
        self.name = name
        self._server, self._alone = server, alone
        self._ready = False
        self._making = Lock()

    def get(self, name: str) -> Standing | None:
        asking: dict[str, Any] = {"output_fields": ["made", "revision"], "timeout": CALL_SECONDS, **STRONG}
        rows = self._asked(lambda client: client.get(self.name, ids=[name], **asking))
        return Standing(name, rows[0]["made"], rows[0]["revision"]) if rows else None

    def put(self, standing: Standing) -> None:
        row = {"name": standing.name, "made": standing.made, "revision": standing.revision, "unused": [0.0, 0.0]}
        self._asked(lambda client: client.upsert(self.name, [row], timeout=CALL_SECONDS))

    def forget(self, name: str) -> None:
        self._asked(lambda client: client.delete(self.name, ids=[name], timeout=CALL_SECONDS))

    def _asked(self, call: Callable[["MilvusClient"], Any]) -> Any:
        self._make()
        try:
            with self._server.asked() as client:
                return call(client)
        except IndexLost:
            self._ready = False
        self._make()
        with self._server.asked() as client:
            return call(client)

    def _make(self) -> None:
        with self._making:
            if self._ready:
                return
            with self._alone(self.name, PATIENCE_SECONDS), self._server.asked() as client:
                if client.has_collection(self.name, timeout=CALL_SECONDS):
                    client.load_collection(self.name, timeout=LOAD_SECONDS)
                else:
                    self._create(client)
            self._ready = True

    def _create(self, client: "MilvusClient") -> None:
        from pymilvus import DataType

        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("name", DataType.VARCHAR, is_primary=True, max_length=NAME_LENGTH)
        schema.add_field("made", DataType.VARCHAR, max_length=MADE_LENGTH)
        schema.add_field("revision", DataType.INT64)
        schema.add_field("unused", DataType.FLOAT_VECTOR, dim=2)  # a collection has to have a vector
        index = client.prepare_index_params()
        index.add_index("unused", index_type="FLAT", metric_type="L2")
        client.create_collection(self.name, schema=schema, index_params=index, timeout=LOAD_SECONDS, **STRONG)


class InMilvus:
    """index.homes.PlacedIndex as a collection."""

    def __init__(self, index: MilvusIndex, standing: Standing, standings: Standings, alone: Alone) -> None:
        self.index = index
        self._standing, self._standings, self._alone = standing, standings, alone

    @property
    def revision(self) -> int:
        return self._standing.revision

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raises IndexLost where the collection was deleted, StoreUnavailable where another process has been writing
        for a long time, IndexUnavailable."""
        with self._alone(self.index.name, PATIENCE_SECONDS):
            standing = self._standings.get(self.index.name)
            if standing is None or standing.made != self._standing.made:
                raise IndexLost("a collection is not there any more")
            self._standing = standing
            if not standing.revision:
                self.index.clear()  # of what the first addition left, had it been cut short
            yield

    def reached(self, revision: int) -> None:
        standing = Standing(self._standing.name, self._standing.made, revision)
        self._standings.put(standing)
        self._standing = standing


class MilvusHome:
    """index.homes.IndexHome on a Milvus server.

    owner: who its collections belong to, one tenant of one database: up to 32 letters, digits and underscores. alone:
    storage.store.Store.locks.alone of just that tenant. Collections of other owners are left alone.
    """

    def __init__(self, server: MilvusServer, owner: str, alone: Alone, searched_by: SearchedBy = "FLAT") -> None:
        self._server, self._alone = server, alone
        self._searched_by: SearchedBy = searched_by
        self._prefix = f"facesvc_{owner}_"
        self._standings = Standings(server, f"{self._prefix}standings", alone)

    def open(self, gallery: Gallery) -> PlacedIndex:
        """Raises IndexUnavailable, and StoreUnavailable where another process has been writing for a long time."""
        name = self._name(version_of(gallery))
        index = MilvusIndex(self._server, name, searched_by=self._searched_by)
        made = gallery.created_at.isoformat()
        with self._alone(name, PATIENCE_SECONDS):
            standing = self._known(name)
            if standing is None or standing.made != made or not standing.revision:
                standing = Standing(name, made, 0)
                self._standings.put(standing)  # first: whoever is killed here must not leave a new collection as filled
                index.create()
            else:
                index.load()
        return InMilvus(index, standing, self._standings, self._alone)

    def update_files(self, gallery: Gallery, kept: PlacedIndex | None) -> None:
        """There is nothing on disk."""

    def elsewhere(self, gallery: Gallery) -> bool:
        return True

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        """None."""
        return np.empty(0, np.int64)

    def drop(self, gallery: Gallery) -> None:
        """Raises IndexUnavailable; then ``sweep`` finds what is left."""
        for name in self._collections(f"{self._prefix}{gallery.key}_"):
            self._delete(name)

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        """Raises IndexUnavailable."""
        there = self._collections(self._prefix)
        known = {self._name(version) for version in living()} | {self._standings.name}
        residue = [name for name in there if name not in known]
        for name in residue:
            self._delete(name)
        return [f"Milvus collection {name}" for name in residue]

    def describe(self) -> str:
        """What answers, and how much of ours it keeps. Raises IndexUnavailable."""
        with self._server.asked() as client:
            release = client.get_server_version(timeout=CALL_SECONDS)
        kept = [name for name in self._collections(self._prefix) if name != self._standings.name]
        return f"Milvus {release} keeps {len(kept)} indexes of this database"

    def _name(self, version: Version) -> str:
        return f"{self._prefix}{name_of(version)}"

    def _known(self, name: str) -> Standing | None:
        """Where the collection stands; None, too, where there is no such collection."""
        with self._server.asked() as client:
            there = client.has_collection(name, timeout=CALL_SECONDS)
        return self._standings.get(name) if there else None

    def _collections(self, prefix: str) -> list[str]:
        with self._server.asked() as client:
            names: Any = client.list_collections(timeout=CALL_SECONDS)
        return sorted(name for name in names if name.startswith(prefix))

    def _delete(self, name: str) -> None:
        with self._server.asked() as client:
            client.drop_collection(name, timeout=LOAD_SECONDS)
        self._standings.forget(name)
