"""A process of a service with a gallery in a vector engine; run by test_engine_kill.

``catch up``: brings the index up to the gallery, and says each time that it asks for changes. ``work``: enrols, deletes
and searches for so many rounds, and says what it saw that it should not have.
"""

import sys

from facesvc.core.types import Changes, Gallery
from facesvc.index.galleries import GalleryIndexes
from facesvc.storage.engine import open_engine
from facesvc.storage.revisions import Revisions
from facesvc.storage.store import Store
from tests.support.databases import new_reference, open_store, unit_vectors
from tests.support.engines import EngineHomes

STEP = 4


class Telling(Revisions):
    """The revisions, that say when they are asked for changes."""

    def changes(self, gallery: Gallery, after: int, limit: int | None = None) -> Changes:
        print("step", flush=True)
        return super().changes(gallery, after, limit)


def catch_up(indexes: GalleryIndexes, store: Store) -> None:
    indexes.search(store.galleries.get("staff"), unit_vectors(1), 1)
    print("done", flush=True)


def work(indexes: GalleryIndexes, store: Store, number: int, rounds: int) -> None:
    """Every enrolment is found by its own vector at once, and no deleted reference is found any more."""
    for round_ in range(rounds):
        seed = 10_000 * number + round_
        subject = f"subject {number}"
        (stored,) = store.references.add("staff", subject, [new_reference(seed)])
        if indexes.search(store.galleries.get("staff"), unit_vectors(1, seed), 1) != [[stored.key]]:
            print("not found", stored.key, flush=True)
        if round_ % 3 == 2:
            store.subjects.delete("staff", subject)
            if stored.key in indexes.search(store.galleries.get("staff"), unit_vectors(1, seed), 500)[0]:
                print("still found", stored.key, flush=True)
    print("done", flush=True)


def main(task: str, engine: str, place: str, owner: str, url: str, number: int) -> None:
    database = open_engine(url)
    store = open_store(database)
    if task == "catch up":
        store.revisions = Telling(store.rows)
    indexes = GalleryIndexes(store, EngineHomes(place, place, owner)(engine, store), step=STEP)
    if task == "catch up":
        catch_up(indexes, store)
    else:
        work(indexes, store, number, rounds=12)


if __name__ == "__main__":
    main(*sys.argv[1:6], int(sys.argv[6]))  # type: ignore[misc]
