"""Snapshots beside a real database: what is deleted leaves them, what is foreign is not believed, and a new process
has its index from them."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from facesvc.core.types import Changes, Gallery, NewGallery
from facesvc.index.compressed import CompressedIndex
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.growing import GrowingIndex
from facesvc.index.local import SnapshotHome
from facesvc.index.snapshot import Storable
from facesvc.storage.store import Store
from tests.support.databases import VERSION, enrol, unit_vectors

LEAST = 20


@pytest.fixture(params=[FlatIndex, CompressedIndex])
def home(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> SnapshotHome:
    return SnapshotHome(lambda _: request.param(), store, tmp_path / "snapshots", LEAST)


def followed(store: Store, home: SnapshotHome) -> GalleryIndexes:
    """A process that looked once at everything."""
    indexes = GalleryIndexes(store, home)
    indexes.follow(lambda: False)
    return indexes


def loaded(store: Store, home: SnapshotHome) -> tuple[list[int], int]:
    """Keys and revision of what a new process starts from."""
    kept = home.open(store.galleries.get("staff"))
    return sorted(kept.codes.keys().tolist()), kept.revision


def code(index: Storable, changes: Changes, key: int) -> bytes:
    """How an index of this kind stores the template of reference ``key``. changes: all of the gallery's templates."""
    index.add(np.array([1]), changes.vectors[changes.added == key])
    return index.codes(np.array([1]))[1].tobytes()


def stored(home: SnapshotHome, gallery: Gallery) -> bytes:
    return b"".join(path.read_bytes() for path in home.snapshot(gallery).folder.rglob("*"))


def test_small_galleries_have_none(store: Store, home: SnapshotHome, tmp_path: Path) -> None:
    enrol(store, "ada", *range(LEAST - 1))
    followed(store, home)
    assert not (tmp_path / "snapshots").exists()
    enrol(store, "ada", 99)
    followed(store, home)
    assert len(home.snapshot(store.galleries.get("staff")).keys()) == LEAST


def test_a_new_process_starts_from_it(store: Store, home: SnapshotHome) -> None:
    keys = enrol(store, "ada", *range(30))
    followed(store, home)
    assert loaded(store, home) == (sorted(keys), 1)
    (late,) = enrol(store, "bob", 77)  # too few for another snapshot
    indexes = followed(store, home)
    assert loaded(store, home) == (sorted(keys), 1)
    found = indexes.search(store.galleries.get("staff"), unit_vectors(1, 77), 1)
    assert found[0][0] == late
    assert [(i.references, i.revision) for i in indexes.loaded()] == [(31, 2)]
    enrol(store, "bob", *range(100, 104))
    followed(store, home)
    assert loaded(store, home)[1] == 3


def test_what_is_deleted_is_in_no_file(store: Store, home: SnapshotHome) -> None:
    """By the process that follows, and without one: by whoever deletes."""
    keys = [*enrol(store, "bob", 500), *enrol(store, "eve", 501), *enrol(store, "ada", *range(30))]
    indexes = followed(store, home)
    gallery = store.galleries.get("staff")
    everything = store.revisions.changes(gallery, 0)
    bob, eve, ada = (code(home.open(gallery).codes, everything, key) for key in keys[:3])
    assert [found in stored(home, gallery) for found in (bob, eve, ada)] == [True] * 3
    store.subjects.delete("staff", "bob")
    indexes.follow(lambda: False)
    assert [found in stored(home, gallery) for found in (bob, eve, ada)] == [False, True, True]
    store.subjects.delete("staff", "eve")
    GalleryIndexes(store, home).settle()
    assert [found in stored(home, gallery) for found in (bob, eve, ada)] == [False, False, True]
    assert loaded(store, home)[1] == 3
    assert len(loaded(store, home)[0]) == 30


def test_a_deleted_gallerys_goes(store: Store, home: SnapshotHome, tmp_path: Path) -> None:
    enrol(store, "ada", *range(30))
    indexes = followed(store, home)
    gallery = store.galleries.get("staff")
    folder = home.snapshot(gallery).folder
    assert len(list(folder.iterdir())) == 3
    store.galleries.delete("staff")
    indexes.drop(gallery)
    assert list(folder.parent.iterdir()) == []


def test_residue_of_galleries_deleted_elsewhere_is_swept(store: Store, home: SnapshotHome, other: Store) -> None:
    other.galleries.create(NewGallery("guests"), VERSION)
    enrol(store, "ada", *range(30))
    enrol(store, "ada", *range(30), gallery="guests")
    indexes = followed(store, home)
    guests = home.snapshot(store.galleries.get("guests")).folder
    staff = home.snapshot(store.galleries.get("staff")).folder
    assert guests.exists()
    other.galleries.delete("guests")
    indexes.follow(lambda: False)
    assert [path.name for path in guests.parent.iterdir() if path.is_dir()] == [staff.name]
    assert [index.gallery for index in indexes.loaded()] == ["staff"]


def test_a_snapshot_of_the_time_before_a_backup_was_restored(store: Store, home: SnapshotHome) -> None:
    """The database goes back; the snapshot doesn't know."""
    first = enrol(store, "ada", *range(30))
    enrol(store, "bob", *range(100, 110))
    followed(store, home)
    assert loaded(store, home)[1] == 2
    put_back(store, first[-1])
    assert loaded(store, home) == ([], 0)
    indexes = followed(store, home)
    assert [(i.references, i.revision) for i in indexes.loaded()] == [(30, 1)]


def test_a_snapshot_of_a_past_that_others_have_overtaken(store: Store, home: SnapshotHome) -> None:
    """Put back, and written to since: revision and keys are as they were, the people are not."""
    first = enrol(store, "ada", *range(30))
    enrol(store, "bob", *range(100, 110))
    followed(store, home)
    put_back(store, first[-1])
    enrol(store, "eve", *range(200, 210))
    assert store.galleries.get("staff").revision == 2
    assert loaded(store, home) == ([], 0)
    indexes = followed(store, home)
    probe, gallery = unit_vectors(1, 205), store.galleries.get("staff")
    (key, *_), found = indexes.search(gallery, probe, 1)[0], store.references.list("staff", "eve", 99).items
    assert key in [reference.key for reference in found]


def put_back(store: Store, last: int) -> None:
    """The database as it was when ``last`` was the newest reference, at revision 1."""
    with store.engine.begin() as connection:
        for table in ("templates", "face_references"):
            key = "reference_key" if table == "templates" else "key"
            connection.execute(text(f"DELETE FROM {table} WHERE {key} > {last}"))
        connection.execute(text("DELETE FROM revisions WHERE revision > 1"))
        connection.execute(text("DELETE FROM subjects WHERE key > 1"))
        connection.execute(text('UPDATE galleries SET revision = 1, subjects = 1, "references" = 30'))
        if store.engine.dialect.name == "sqlite":
            connection.execute(text(f"UPDATE sqlite_sequence SET seq = {last} WHERE name = 'face_references'"))
        else:
            connection.execute(text(f"ALTER TABLE face_references ALTER COLUMN key RESTART WITH {last + 1}"))


def test_processes_share_one(store: Store, other: Store, home: SnapshotHome) -> None:
    """One further than the other: what it wrote and purged is not undone."""
    enrol(store, "ada", *range(30))
    behind = followed(other, home)
    enrol(store, "bob", *range(100, 110))
    store.subjects.delete("staff", "ada")
    followed(store, home)
    before = home.snapshot(store.galleries.get("staff")).manifest()
    home.update_files(store.galleries.get("staff"), behind._open_indexes[next(iter(behind._open_indexes))].index)
    assert home.snapshot(store.galleries.get("staff")).manifest() == before
    assert before is not None
    assert before.references == 10


def test_a_gallery_about_to_outgrow_its_kind_of_index(store: Store, tmp_path: Path) -> None:
    home = SnapshotHome(lambda _: GrowingIndex(flat_until=31), store, tmp_path / "snapshots", LEAST)
    keys = enrol(store, "ada", *range(30))
    followed(store, home)
    assert loaded(store, home) == (sorted(keys), 1)
    keys += enrol(store, "bob", *range(100, 110))
    followed(store, home)
    assert loaded(store, home) == (sorted(keys), 2)
    assert home.open(store.galleries.get("staff")).index.kind == "compressed"
