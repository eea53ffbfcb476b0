"""The indexes follows the database: every search sees every write that was committed before it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from sqlalchemy import text

from facesvc.core.compare import squared_l2
from facesvc.core.types import Gallery, NewGallery
from facesvc.errors import GalleryNotFound, StoreUnavailable
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import InMemory, MemoryHome
from facesvc.storage.store import Store
from tests.contract.indexes import KINDS
from tests.support.databases import VERSION, enrol, unit_vectors
from tests.support.engines import ENGINE_PARAMETERS, ENGINES


@pytest.fixture(params=[*KINDS, *ENGINE_PARAMETERS])
def indexes(request: pytest.FixtureRequest, store: Store) -> GalleryIndexes:
    if request.param in ENGINES:
        return GalleryIndexes(store, request.getfixturevalue("engine_home")(request.param, store), step=2)
    return GalleryIndexes(store, MemoryHome(KINDS[request.param]), step=2)


def states(indexes: GalleryIndexes) -> list[tuple[str, int, int]]:
    """Of the indexes in memory: gallery, references, revision."""
    return [(loaded.gallery, loaded.references, loaded.revision) for loaded in indexes.loaded()]


def test_search_finds_what_was_just_written(store: Store, indexes: GalleryIndexes) -> None:
    one, two = enrol(store, "ada", 1, 2)
    probes = np.concatenate([unit_vectors(1, 1), unit_vectors(1, 2), unit_vectors(1, 3)])
    found = indexes.search(store.galleries.get("staff"), probes, 1)
    assert found[:2] == [[one], [two]]
    (three,) = enrol(store, "bob", 3)
    assert indexes.search(store.galleries.get("staff"), probes, 1) == [[one], [two], [three]]
    store.references.delete("staff", "ada", store.references.list("staff", "ada", 1).items[0].id)
    assert indexes.search(store.galleries.get("staff"), probes, 3)[1][0] == two
    assert sorted(indexes.search(store.galleries.get("staff"), probes, 3)[0]) == [two, three]
    store.subjects.delete("staff", "ada")
    assert indexes.search(store.galleries.get("staff"), probes, 3) == [[three]] * 3
    assert states(indexes) == [("staff", 1, 4)]


def test_order_is_the_oracles(store: Store, indexes: GalleryIndexes) -> None:
    seeds = list(range(200))
    keys = np.array(enrol(store, "ada", *seeds))
    probes = unit_vectors(5, seed=1000)
    vectors = np.concatenate([unit_vectors(1, seed) for seed in seeds])
    exact = squared_l2(probes, vectors)
    wanted = keys[np.argsort(exact, axis=1)[:, :7]]
    order = keys.argsort()
    for i, shortlist in enumerate(indexes.search(store.galleries.get("staff"), probes, 7)):
        columns = order[np.searchsorted(keys[order], shortlist)]
        assert keys[columns[exact[i, columns].argsort()]][:7].tolist() == wanted[i].tolist()


def test_empty_gallery(store: Store, indexes: GalleryIndexes) -> None:
    assert indexes.search(store.galleries.get("staff"), unit_vectors(2), 5) == [[], []]


def test_galleries_are_apart(store: Store, indexes: GalleryIndexes) -> None:
    store.galleries.create(NewGallery("guests"), VERSION)
    (ours,) = enrol(store, "ada", 1)
    (theirs,) = enrol(store, "ada", 1, gallery="guests")
    assert indexes.search(store.galleries.get("staff"), unit_vectors(1, 1), 5) == [[ours]]
    assert indexes.search(store.galleries.get("guests"), unit_vectors(1, 1), 5) == [[theirs]]


def test_two_processes_see_each_others_writes(store: Store, other: Store) -> None:
    here, there = GalleryIndexes(store, MemoryHome(FlatIndex)), GalleryIndexes(other, MemoryHome(FlatIndex))
    probe = unit_vectors(1, 1)
    assert there.search(other.galleries.get("staff"), probe, 9) == [[]]
    for round_ in range(5):
        (first,) = enrol(store, "ada", 1)
        (second,) = enrol(other, "bob", 100 + round_)
        assert there.search(other.galleries.get("staff"), probe, 1) == [[first]]
        assert here.search(store.galleries.get("staff"), unit_vectors(1, 100 + round_), 1) == [[second]]
        other.subjects.delete("staff", "ada")
        assert first not in here.search(store.galleries.get("staff"), probe, 99)[0]
    assert states(here) == [("staff", 5, 15)]
    assert there.search(other.galleries.get("staff"), probe, 99) == here.search(store.galleries.get("staff"), probe, 99)


def test_indexes_are_built_at_first_use_or_when_warmed(store: Store, indexes: GalleryIndexes) -> None:
    for i in range(3):
        store.galleries.create(NewGallery(f"gallery {i}"), VERSION)
        enrol(store, "ada", *range(i), gallery=f"gallery {i}")
    assert states(indexes) == []
    indexes.search(store.galleries.get("gallery 2"), unit_vectors(1), 1)
    assert states(indexes) == [("gallery 2", 2, 1)]
    indexes.warm()
    assert states(indexes) == [
        ("gallery 0", 0, 0),
        ("gallery 1", 1, 1),
        ("gallery 2", 2, 1),
        ("staff", 0, 0),
    ]


def test_memory_is_told(store: Store) -> None:
    enrol(store, "ada", 1, 2, 3)
    for kind, each in (("flat", 4 * 128), ("compressed", 128)):
        indexes = GalleryIndexes(store, MemoryHome(KINDS[kind]))
        indexes.warm()
        (loaded,) = indexes.loaded()
        assert (loaded.kind, loaded.references) == (kind, 3)
        assert 3 * (each + 8) <= loaded.nbytes <= 3 * (each + 8 + 104)


def test_dropped_index_is_built_anew(store: Store, indexes: GalleryIndexes) -> None:
    (key,) = enrol(store, "ada", 1)
    gallery = store.galleries.get("staff")
    indexes.search(gallery, unit_vectors(1), 1)
    indexes.drop(gallery)
    indexes.drop(gallery)
    assert states(indexes) == []
    assert indexes.search(gallery, unit_vectors(1), 1) == [[key]]


def test_gallery_made_again_has_nothing_of_the_old_one(store: Store, indexes: GalleryIndexes) -> None:
    enrol(store, "ada", 1)
    indexes.search(store.galleries.get("staff"), unit_vectors(1), 1)
    store.galleries.delete("staff")
    store.galleries.create(NewGallery("staff"), VERSION)
    assert indexes.search(store.galleries.get("staff"), unit_vectors(1, 1), 5) == [[]]


def test_gallery_deleted_elsewhere_leaves_memory(store: Store, other: Store, indexes: GalleryIndexes) -> None:
    enrol(store, "ada", 1)
    indexes.search(store.galleries.get("staff"), unit_vectors(1), 1)
    other.galleries.delete("staff")
    guests = other.galleries.create(NewGallery("guests"), VERSION)
    indexes.search(guests, unit_vectors(1), 1)
    assert states(indexes) == [("guests", 0, 0)]


def test_gallery_deleted_while_it_is_searched(store: Store, indexes: GalleryIndexes) -> None:
    enrol(store, "ada", 1)
    gallery = store.galleries.get("staff")
    store.galleries.delete("staff")
    with pytest.raises(GalleryNotFound):
        indexes.search(gallery, unit_vectors(1), 1)
    assert states(indexes) == []


def test_database_that_comes_back(store: Store, indexes: GalleryIndexes) -> None:
    """A failure to catch up changes nothing; the next search makes good for it."""
    (first,) = enrol(store, "ada", 1)
    indexes.search(store.galleries.get("staff"), unit_vectors(1), 1)
    (second,) = enrol(store, "ada", 2)
    gallery = store.galleries.get("staff")
    rename(store, "templates", "elsewhere")
    with pytest.raises(StoreUnavailable):
        indexes.search(gallery, unit_vectors(1, 2), 1)
    assert states(indexes) == [("staff", 1, 1)]
    rename(store, "elsewhere", "templates")
    assert indexes.search(gallery, unit_vectors(1, 2), 1) == [[second]]
    assert indexes.search(gallery, unit_vectors(1, 1), 1) == [[first]]


def rename(store: Store, table: str, name: str) -> None:
    with store.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


def test_threads_read_their_own_writes(store: Store, indexes: GalleryIndexes) -> None:
    def work(thread: int) -> list[bool]:
        seen: list[bool] = []
        for round_ in range(8):
            seed = 100 * thread + round_
            (key,) = enrol(store, f"subject {thread}", seed)
            gallery: Gallery = store.galleries.get("staff")
            seen.append(indexes.search(gallery, unit_vectors(1, seed), 1) == [[key]])
            if round_ % 2:
                store.subjects.delete("staff", f"subject {thread}")
                gallery = store.galleries.get("staff")
                seen.append(key not in indexes.search(gallery, unit_vectors(1, seed), 100)[0])
        return seen

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(1, 5))) == [[True] * 12] * 4
    assert indexes.search(store.galleries.get("staff"), unit_vectors(1), 5) == [[]]


def test_threads_that_want_one_index_open_it_once(store: Store) -> None:
    (key,) = enrol(store, "ada", 1)
    gallery, together, opened = store.galleries.get("staff"), Barrier(8), []

    class Slow(MemoryHome):
        def open(self, gallery: Gallery) -> InMemory:
            opened.append(gallery.key)
            enrol(store, "bob", 2)  # takes its time
            return super().open(gallery)

    indexes = GalleryIndexes(store, Slow(FlatIndex))

    def search(_: int) -> list[list[int]]:
        together.wait()
        return indexes.search(gallery, unit_vectors(1, 1), 1)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(search, range(8))) == [[[key]]] * 8
    assert opened == [gallery.key]
