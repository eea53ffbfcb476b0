"""The sweep finds what should not be there, wherever it lies, and nothing else."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert

from facesvc.core.types import NewGallery
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.local import SnapshotHome
from facesvc.index.sweep import Compared, Sweep
from facesvc.storage.erasures import Residue
from facesvc.storage.store import Store
from facesvc.storage.tables import AnswerRow
from tests.support.databases import VERSION, new_reference, new_tenant, unit_vectors

CLEAN = Compared("staff", VERSION, 30, "flat", 0, 0, 30, 0)


@pytest.fixture
def home(store: Store, tmp_path: Path) -> SnapshotHome:
    """Of a gallery of 30 references that has a snapshot."""
    store.references.add("staff", "ada", [new_reference(seed) for seed in range(20)])
    store.references.add("staff", "bob", [new_reference(seed) for seed in range(20, 30)])
    home = SnapshotHome(lambda _: FlatIndex(), store, tmp_path / "snapshots", least=10)
    GalleryIndexes(store, home).follow(lambda: False)
    return home


@pytest.fixture
def sweep(store: Store, home: SnapshotHome) -> Sweep:
    return Sweep(store, home)


def snapshot_keys(store: Store, home: SnapshotHome) -> int:
    return len(home.snapshot(store.galleries.get("staff")).keys())


def test_nothing_is_found_where_nothing_is(store: Store, sweep: Sweep) -> None:
    assert list(sweep.galleries()) == [CLEAN]
    assert sweep.residue() == []
    assert Residue(store.engine, store.tenant).sweep() == {}


def test_what_was_deleted_since_leaves_the_snapshot(store: Store, home: SnapshotHome, sweep: Sweep) -> None:
    store.subjects.delete("staff", "bob")
    assert snapshot_keys(store, home) == 30
    assert list(sweep.galleries()) == [replace(CLEAN, references=20, on_disk=20)]
    assert snapshot_keys(store, home) == 20


def test_a_snapshot_that_holds_somebody_too_many_is_deleted(store: Store, home: SnapshotHome, sweep: Sweep) -> None:
    """Somebody the log knows nothing of: then the index that was made of it does so, too."""
    index = home.open(store.galleries.get("staff")).codes
    index.add(np.array([999]), unit_vectors(1, 999))
    snapshot = home.snapshot(store.galleries.get("staff"))
    snapshot.delete()
    snapshot.write(index, index.keys(), 2)
    assert list(sweep.galleries()) == [replace(CLEAN, surplus=1, on_disk=31, surplus_on_disk=1)]
    assert not snapshot.folder.exists()
    assert list(sweep.galleries()) == [replace(CLEAN, on_disk=0)]


def test_an_index_that_lacks_somebody(store: Store, home: SnapshotHome, sweep: Sweep) -> None:
    index = home.open(store.galleries.get("staff")).codes
    index.remove(index.keys()[3:5])
    snapshot = home.snapshot(store.galleries.get("staff"))
    snapshot.delete()
    snapshot.write(index, index.keys(), 2)
    assert list(sweep.galleries()) == [replace(CLEAN, missing=2, on_disk=28)]
    assert list(sweep.galleries()) == [replace(CLEAN, on_disk=0)]


def test_what_is_kept_of_galleries_that_are_gone(store: Store, other: Store, home: SnapshotHome, sweep: Sweep) -> None:
    folder = home.snapshot(store.galleries.get("staff")).folder
    other.galleries.delete("staff")
    assert sweep.residue() == [f"snapshot {folder.name} of a gallery that is not there"]
    assert not folder.exists()
    assert list(sweep.galleries()) == []


def test_rows_without_their_owners(store: Store, home: SnapshotHome, sweep: Sweep) -> None:
    """As a copy without foreign keys may have them."""
    if store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL lets nobody break its foreign keys")
    connection = sqlite3.connect(str(store.engine.url.database))  # foreign keys are off unless one asks
    connection.execute("DELETE FROM subjects WHERE key = 2")
    connection.commit()
    connection.close()
    found = Residue(store.engine, store.tenant).sweep()
    assert found["rows of face_references without their row of subjects"] == 10
    assert Residue(store.engine, store.tenant).sweep() == {}
    assert list(sweep.galleries()) == [replace(CLEAN, references=20, surplus=10, on_disk=30, surplus_on_disk=10)]
    assert list(sweep.galleries()) == [replace(CLEAN, references=20, on_disk=0)]


def test_other_tenants_rows_are_not_touched(store: Store, home: SnapshotHome) -> None:
    guests = new_tenant(store.engine, "guests")
    guests.galleries.create(NewGallery("staff"), VERSION)
    guests.references.add("staff", "eve", [new_reference(1)])
    lapsed = {"key": "a", "request": "b", "expires_at": datetime(2000, 1, 1, tzinfo=UTC)}
    with store.engine.begin() as connection:
        connection.execute(insert(AnswerRow), [lapsed | {"tenant": tenant} for tenant in ("default", "guests")])
    assert Residue(store.engine, store.tenant).sweep() == {"lapsed answers to enrolments": 1}
    assert Residue(store.engine, store.tenant).sweep() == {}
    assert Residue(store.engine, "guests").sweep() == {"lapsed answers to enrolments": 1}
    assert guests.galleries.get("staff").references == 1
