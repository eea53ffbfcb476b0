"""What was deleted is gone from the disk."""

import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import func, select

from facesvc.core.types import GalleryChange, NewGallery
from facesvc.storage.engine import open_engine
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.tables import ReferenceRow
from tests.support.databases import VERSION, migrated_sqlite, new_reference, unit_vectors

PHOTOGRAPH = b"\xff\xd8 a photograph that nobody else has " * 300
"""Larger than a page of the database, so that it overflows into others."""


def on_disk(folder: Path) -> bytes:
    """Every byte of the database: the file, its write-ahead log, its shared memory."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("facesvc.db*")))


@pytest.fixture
def files(tmp_path: Path):
    """A store on SQLite, and its folder."""
    engine = open_engine(migrated_sqlite(tmp_path))
    store = SqlReferenceStore(engine)
    store.create_gallery(NewGallery("staff", True), VERSION)
    yield store, tmp_path
    engine.dispose()


@pytest.mark.parametrize("how", ["reference", "subject", "gallery"])
def test_deleted_bytes_are_not_on_the_disk(files: tuple[SqlReferenceStore, Path], how: str) -> None:
    store, folder = files
    store.add_references("staff", "bob", [new_reference(i) for i in range(50)])
    (doomed,) = store.add_references("staff", "ada", [new_reference(1000, photograph=PHOTOGRAPH)])
    vector = doomed.sample.template.vector.tobytes()
    assert (vector in on_disk(folder), PHOTOGRAPH[:1000] in on_disk(folder)) == (True, True)
    if how == "reference":
        store.delete_reference("staff", "ada", doomed.id)
    elif how == "subject":
        store.delete_subject("staff", "ada")
    else:
        store.delete_gallery("staff")
    left = on_disk(folder)
    assert [vector[i : i + 16] in left for i in range(0, len(vector), 16)] == [False] * 32
    assert PHOTOGRAPH[:100] not in left
    assert (unit_vectors(1, 7).tobytes() in left) == (how != "gallery")


def test_photographs_no_longer_kept_are_not_on_the_disk(files: tuple[SqlReferenceStore, Path]) -> None:
    store, folder = files
    store.add_references("staff", "ada", [new_reference(1, photograph=PHOTOGRAPH)])
    store.update_gallery("staff", GalleryChange(keep_photographs=False))
    assert PHOTOGRAPH[:100] not in on_disk(folder)
    assert unit_vectors(1, 1).tobytes() in on_disk(folder)


def test_deletion_does_not_wait_for_a_reader(files: tuple[SqlReferenceStore, Path]) -> None:
    """The reader's snapshot keeps the log from being emptied; the next deletion after it ends does that."""
    store, folder = files
    store.add_references("staff", "ada", [new_reference(1), new_reference(2), new_reference(3)])
    first, second, _ = store.references("staff", "ada", 3).items
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(ReferenceRow)) == 3
        store.delete_reference("staff", "ada", first.id)
    store.delete_reference("staff", "ada", second.id)
    assert first.sample.template.vector.tobytes() not in on_disk(folder)


def test_database_files_are_the_owners_alone(files: tuple[SqlReferenceStore, Path]) -> None:
    _, folder = files
    modes = {path.name: stat.S_IMODE(os.stat(path).st_mode) for path in folder.glob("facesvc.db*")}
    assert modes == {"facesvc.db": 0o600, "facesvc.db-shm": 0o600, "facesvc.db-wal": 0o600}
