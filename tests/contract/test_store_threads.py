"""The store under concurrent writers and readers, each with connections of its own, as processes have."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Barrier
from typing import TypeVar

import pytest

from facesvc.core.types import NewGallery, NewSubject
from facesvc.errors import GalleryExists, SubjectExists, SubjectNotFound
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from tests.contract.values import counts
from tests.support.databases import VERSION, new_reference, open_store

WRITERS = 8
T = TypeVar("T")


@contextmanager
def stores(url: str, count: int) -> Iterator[list[Store]]:
    engines = [open_engine(url) for _ in range(count)]
    yield [open_store(engine) for engine in engines]
    for engine in engines:
        engine.dispose()


def at_once(url: str, work: Callable[[Store, int], T]) -> list[T | Exception]:
    """What ``work(store, i)`` returned or raised for each writer, all let go together."""
    gate = Barrier(WRITERS)

    def run(store: Store, i: int) -> T | Exception:
        store.ping()  # connected before the start
        gate.wait(30)
        try:
            return work(store, i)
        except Exception as error:
            return error

    with stores(url, WRITERS) as opened, ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, opened, range(WRITERS)))


def test_one_subject_enrolled_by_many_at_once(url: str, store: Store) -> None:
    added = at_once(url, lambda own, i: own.references.add("staff", "ada", [new_reference(i)])[0].key)
    changes = store.revisions.changes(store.galleries.get("staff"), 0)
    assert sorted(changes.added.tolist()) == sorted(added)  # type: ignore[type-var]  # an exception fails here
    assert counts(store) == (WRITERS, 1, WRITERS)
    assert store.subjects.get("staff", "ada").references == WRITERS


def test_one_photograph_enrolled_by_many_at_once(url: str, store: Store) -> None:
    added = at_once(url, lambda own, i: own.references.add("staff", "ada", [new_reference(1)])[0].id)
    assert set(added) == {store.references.list("staff", "ada", 10).items[0].id}
    assert counts(store) == (1, 1, 1)


def test_one_subject_created_by_many_at_once(url: str, store: Store) -> None:
    created = at_once(url, lambda own, i: own.subjects.create("staff", NewSubject("ada", str(i))).display_name)
    winners = [name for name in created if isinstance(name, str)]
    assert winners == [store.subjects.get("staff", "ada").display_name]
    assert [type(error) for error in created if not isinstance(error, str)] == [SubjectExists] * (WRITERS - 1)
    assert counts(store) == (1, 1, 0)


@pytest.mark.usefixtures("store")
def test_one_gallery_created_by_many_at_once(url: str) -> None:
    created = at_once(url, lambda own, i: own.galleries.create(NewGallery("guests"), VERSION).name)
    assert sorted(x if isinstance(x, str) else type(x).__name__ for x in created) == ["GalleryExists"] * (
        WRITERS - 1
    ) + ["guests"]
    assert {type(error) for error in created if not isinstance(error, str)} == {GalleryExists}


def test_deletions_and_enrolments_cross(url: str, store: Store) -> None:
    """Half the writers enrol subjects, half delete them again and again: the counts say what is left."""

    def work(own: Store, i: int) -> None:
        for round_ in range(6):
            name = f"subject {(i // 2 + round_) % 3}"
            if i % 2:
                own.references.add("staff", name, [new_reference(100 * i + round_), new_reference(round_)])
            elif any(subject.id == name for subject in own.subjects.list("staff", 10).items):
                with suppress(SubjectNotFound):  # another was first
                    own.subjects.delete("staff", name)

    assert at_once(url, work) == [None] * WRITERS
    subjects = store.subjects.list("staff", 10).items
    references = [len(store.references.list("staff", subject.id, 100).items) for subject in subjects]
    gallery = store.galleries.get("staff")
    assert (gallery.subjects, gallery.references) == (len(subjects), sum(references))
    assert [subject.references for subject in subjects] == references
    assert len(store.revisions.changes(gallery, 0).added) == sum(references)


def test_readers_see_whole_writes_in_their_order(url: str, store: Store) -> None:
    """Every write adds two references and is one revision, so whatever a reader sees, it sees twice as many."""
    store.references.add("staff", "ada", [new_reference(0), new_reference(1)])

    def work(own: Store, i: int) -> list[tuple[int, int]]:
        if i < 4:
            for round_ in range(10):
                seed = 1000 * (i + 1) + 2 * round_
                own.references.add("staff", f"subject {i}", [new_reference(seed), new_reference(seed + 1)])
            return []
        seen = [own.revisions.changes(own.galleries.get("staff"), 0) for _ in range(20)]
        return [(changes.revision, len(changes.added)) for changes in seen]

    for seen in at_once(url, work):
        assert isinstance(seen, list)
        assert [added for _, added in seen] == [2 * revision for revision, _ in seen]
        assert seen == sorted(seen)
    assert counts(store) == (41, 5, 82)
