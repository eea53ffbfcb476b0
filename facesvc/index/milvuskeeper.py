"""Keeps galleries' indexes in Milvus, for all service processes on one database together.

A gallery's templates of one version are a collection. A further, small collection says of each up to which revision it
has come. It is written after the changes themselves: changes that a killed process left half done are made again by
the next, which leaves the same. Names tell the gallery's number, never what it or anybody in it is called.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Gallery
from facesvc.index.keeping import Alone, IndexLost, Kept, Version, name_of, version_of
from facesvc.index.milvus import CALL_SECONDS, LOAD_SECONDS, STRONG, MilvusIndex, MilvusServer, SearchedBy

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
    """index.keeping.Kept as a collection."""

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


class MilvusKeeper:
    """index.keeping.Keeper on a Milvus server.

    owner: who its collections belong to, one tenant of one database: up to 32 letters, digits and underscores. alone:
    core.ports.ReferenceStore.alone of just that tenant. Collections of other owners are left alone.
    """

    def __init__(self, server: MilvusServer, owner: str, alone: Alone, searched_by: SearchedBy = "FLAT") -> None:
        self._server, self._alone = server, alone
        self._searched_by: SearchedBy = searched_by
        self._prefix = f"facesvc_{owner}_"
        self._standings = Standings(server, f"{self._prefix}standings", alone)

    def open(self, gallery: Gallery) -> Kept:
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

    def tend(self, gallery: Gallery, kept: Kept | None) -> None:
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
