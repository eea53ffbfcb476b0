"""kill -9 of a process that enrols: whatever it acknowledged is there, nothing is half there, and the index built
from the database answers as the oracle does."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from facesvc.core.types import NewGallery
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import MemoryHome
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from tests.support.databases import VERSION, open_store, unit_vectors

ROOT = Path(__file__).parents[2]
ROUNDS = 10


def enrol_until_killed(url: str, start: int, acknowledged: int) -> list[str]:
    """Lines of a process that is killed once it acknowledged so many writes, in the middle of the next one."""
    command = [sys.executable, "-m", "drills.faults.enroller", url, str(start)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -9, "".join(lines)
    return [line for line in lines if line.endswith("\n")]


def stored(store: Store) -> dict[str, set[str]]:
    """Reference ids by subject."""
    return {
        subject.id: {reference.id for reference in store.references.list("staff", subject.id, 10_000).items}
        for subject in store.subjects.list("staff", 100).items
    }


@pytest.mark.slow
def test_acknowledged_writes_survive_kill(url: str) -> None:
    engine = open_engine(url)
    store = open_store(engine)
    store.galleries.create(NewGallery("staff"), VERSION)
    follower = GalleryIndexes(store, MemoryHome(FlatIndex))
    enrolled: set[str] = set()
    erased: set[str] = set()
    chance = random.Random(20)
    for round_ in range(ROUNDS):
        for line in enrol_until_killed(url, 1_000 * round_, chance.randint(1, 25)):
            operation, *ids = line.split()
            (enrolled if operation == "+" else erased).update(ids)
        found = stored(store)
        kept = set().union(*found.values())
        assert not kept & erased
        assert len(enrolled - erased - kept) <= 1  # erased, but killed before it could say so
        assert len(kept - enrolled) in (0, 2)  # the write in flight: whole or not at all
        assert_consistent(store, found)
        assert_index_equals_oracle(store, follower)
        enrolled, erased = kept | erased, erased | (enrolled - kept)
    assert len(enrolled) > 50
    engine.dispose()


def assert_consistent(store: Store, found: dict[str, set[str]]) -> None:
    """The counts that writes keep are those of the rows, and the log leads to the same."""
    gallery = store.galleries.get("staff")
    assert (gallery.subjects, gallery.references) == (len(found), sum(map(len, found.values())))
    assert {s.id: s.references for s in store.subjects.list("staff", 100).items} == {
        s: len(ids) for s, ids in found.items()
    }
    log = store.revisions.changes(gallery, 0)
    assert (len(log.added), log.revision) == (gallery.references, gallery.revision)


def assert_index_equals_oracle(store: Store, follower: GalleryIndexes) -> None:
    """An index that followed all along and one built now both give the oracle's order."""
    gallery = store.galleries.get("staff")
    everything = store.revisions.changes(gallery, 0)
    probes = unit_vectors(4, seed=10**6)
    wanted = everything.added[
        np.argsort(squared_l2(store.revisions.issued(gallery, probes), everything.vectors), axis=1)[:, :10]
    ].tolist()
    assert follower.search(gallery, probes, 10) == wanted
    assert GalleryIndexes(store, MemoryHome(FlatIndex)).search(gallery, probes, 10) == wanted
