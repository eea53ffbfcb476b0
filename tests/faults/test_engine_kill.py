"""Several processes with one gallery in a vector engine: under mixed load, and killed as they catch up."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest

from drills.faults.engine_client import STEP
from facesvc.core.compare import squared_l2
from facesvc.core.types import NewGallery
from facesvc.index.galleries import GalleryIndexes
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from tests.support.databases import VERSION, new_reference, open_store, postgresql_database, unit_vectors
from tests.support.engines import ENGINE_PARAMETERS, EngineHomes

ROOT = Path(__file__).parents[2]
PROBES = unit_vectors(3, seed=500)
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Place:
    """Where a gallery's index is kept: the engine, its address, whose it is, and the database of the gallery."""

    engine: str
    address: str
    owner: str
    url: str

    def run(self, task: str, number: int = 0) -> subprocess.Popen[str]:
        where = (self.engine, self.address, self.owner, self.url, str(number))
        command = [sys.executable, "-m", "drills.faults.engine_client", task, *where]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def assert_equal(self, store: Store) -> None:
        """A process that comes now finds exactly what the database holds, in the oracle's order."""
        gallery = store.galleries.get("staff")
        wanted = store.revisions.changes(gallery, 0)
        order = wanted.added[np.argsort(squared_l2(store.revisions.issued(gallery, PROBES), wanted.vectors), axis=1)]
        with closing(EngineHomes(self.address, self.address, self.owner)) as homes:
            indexes = GalleryIndexes(store, homes(self.engine, store))
            assert indexes.search(gallery, PROBES, len(wanted.added) + 100) == order.tolist()
            (loaded,) = indexes.loaded()
        assert (loaded.references, loaded.revision) == (gallery.references, gallery.revision)


@pytest.fixture(params=ENGINE_PARAMETERS)
def place(request: pytest.FixtureRequest, url: str) -> Iterator[Place]:
    owner = uuid.uuid4().hex[:16]
    if request.param == "milvus":
        yield Place("milvus", request.getfixturevalue("milvus_uri"), owner, url)
        return
    with postgresql_database(request.getfixturevalue("postgresql_admin"), template="template1") as vectors:
        yield Place("pgvector", vectors, owner, url)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    engine = open_engine(url)
    store = open_store(engine)
    store.galleries.create(NewGallery("staff"), VERSION)
    yield store
    engine.dispose()


def test_killed_as_it_catches_up(place: Place, store: Store) -> None:
    """Whatever was added and not noted is there in the end, or gone where it was deleted in between."""
    chance = Random(7)
    for round_ in range(4):
        seeds = range(1_000 * round_, 1_000 * round_ + 10 * STEP)
        stored = [store.references.add("staff", f"subject {seed % 9}", [new_reference(seed)])[0] for seed in seeds]
        with place.run("catch up") as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(chance.randint(1, 8))]
            process.kill()
        assert said == ["step\n"] * len(said), "it was not half way"
        for reference in chance.sample(stored, 15):
            store.references.delete("staff", reference.subject, reference.id)
        if round_ % 2:
            place.assert_equal(store)
    place.assert_equal(store)


def test_processes_at_once(place: Place, store: Store) -> None:
    clients = [place.run("work", number) for number in (1, 2, 3)]
    said = [client.communicate(timeout=240)[0] for client in clients]
    assert said == ["done\n"] * 3
    assert store.galleries.get("staff").revision == 3 * (12 + 4)
    place.assert_equal(store)
