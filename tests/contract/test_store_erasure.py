"""What was deleted is gone from the disk."""

import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import func, select

from facesvc.core.types import GalleryChange, NewGallery, Reference
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from facesvc.storage.tables import PhotographRow, ReferenceRow, TemplateRow
from tests.support.databases import VERSION, migrated_sqlite, new_reference, open_store

PHOTOGRAPH = b"\xff\xd8 a photograph that nobody else has " * 300
"""Larger than a page of the database, so that it overflows into others."""


def on_disk(folder: Path) -> bytes:
    """Every byte of the database: the file, its write-ahead log, its shared memory."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("facesvc.db*")))


def stored_vector(store: Store, reference: Reference) -> bytes:
    """The sealed vector, as the row has it."""
    with store.rows.reading() as session:
        return session.scalars(select(TemplateRow.vector).where(TemplateRow.reference_key == reference.key)).one()


def stored_photograph(store: Store, reference: Reference) -> bytes:
    """The sealed photograph, as the row has it."""
    with store.rows.reading() as session:
        return session.get_one(PhotographRow, reference.key).content


@pytest.fixture
def files(tmp_path: Path):
    """A store on SQLite, and its folder."""
    engine = open_engine(migrated_sqlite(tmp_path))
    store = open_store(engine)
    store.galleries.create(NewGallery("staff", True), VERSION)
    yield store, tmp_path
    engine.dispose()


@pytest.mark.parametrize("how", ["reference", "subject", "gallery"])
def test_deleted_bytes_are_not_on_the_disk(files: tuple[Store, Path], how: str) -> None:
    store, folder = files
    store.references.add("staff", "bob", [new_reference(i) for i in range(50)])
    (doomed,) = store.references.add("staff", "ada", [new_reference(1000, photograph=PHOTOGRAPH)])
    vector, photograph = stored_vector(store, doomed), stored_photograph(store, doomed)
    neighbour = stored_vector(store, store.references.list("staff", "bob", 1).items[0])
    assert [content in on_disk(folder) for content in (vector, photograph[:1000], neighbour)] == [True] * 3
    if how == "reference":
        store.references.delete("staff", "ada", doomed.id)
    elif how == "subject":
        store.subjects.delete("staff", "ada")
    else:
        store.galleries.delete("staff")
    left = on_disk(folder)
    assert [vector[i : i + 16] in left for i in range(0, len(vector), 16)] == [False] * 34
    assert photograph[:100] not in left
    assert (neighbour in left) == (how != "gallery")


def test_photographs_no_longer_kept_are_not_on_the_disk(files: tuple[Store, Path]) -> None:
    store, folder = files
    (reference,) = store.references.add("staff", "ada", [new_reference(1, photograph=PHOTOGRAPH)])
    photograph = stored_photograph(store, reference)
    assert photograph[:1000] in on_disk(folder)
    store.galleries.update("staff", GalleryChange(keep_photographs=False))
    assert photograph[:100] not in on_disk(folder)
    assert stored_vector(store, reference) in on_disk(folder)


def test_deletion_does_not_wait_for_a_reader(files: tuple[Store, Path]) -> None:
    """The reader's snapshot keeps the log from being emptied; the next deletion after it ends does that."""
    store, folder = files
    store.references.add("staff", "ada", [new_reference(1), new_reference(2), new_reference(3)])
    first, second, _ = store.references.list("staff", "ada", 3).items
    vector = stored_vector(store, first)
    assert vector in on_disk(folder)
    with store.rows.reading() as session:
        assert session.scalar(select(func.count()).select_from(ReferenceRow)) == 3
        store.references.delete("staff", "ada", first.id)
    store.references.delete("staff", "ada", second.id)
    assert vector not in on_disk(folder)


def test_database_files_are_the_owners_alone(files: tuple[Store, Path]) -> None:
    _, folder = files
    modes = {path.name: stat.S_IMODE(os.stat(path).st_mode) for path in folder.glob("facesvc.db*")}
    assert modes == {"facesvc.db": 0o600, "facesvc.db-shm": 0o600, "facesvc.db-wal": 0o600}
