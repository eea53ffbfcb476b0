"""Indexes in vector engines: shared by processes, made good when somebody deletes them, and gone with their gallery."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic

import numpy as np
import pytest
from sqlalchemy import text

from facesvc.core.compare import squared_l2
from facesvc.core.types import NewGallery
from facesvc.errors import GalleryNotFound, IndexUnavailable
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import ChosenHomes, IndexHome, MemoryHome, Version, version_of
from facesvc.index.milvus import MilvusHome, MilvusIndex, MilvusServer
from facesvc.index.pgvector import PgVectorHome, transaction
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from tests.support.databases import VERSION, enrol, new_reference, new_tenant, postgresql_database, unit_vectors
from tests.support.engines import ENGINE_PARAMETERS, EngineHomes, milvus

PROBES = unit_vectors(3, seed=500)
BACK_SECONDS = 60.0
"""How long a client may take to find a server that came back."""


@pytest.fixture(params=ENGINE_PARAMETERS)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def home(engine: str, engine_home: EngineHomes, store: Store) -> IndexHome:
    return engine_home(engine, store)


def assert_equal(store: Store, home: IndexHome, gallery: str = "staff") -> None:
    """A new process's index, caught up, holds exactly what the database does, and gives the oracle's order."""
    found = store.galleries.get(gallery)
    wanted = store.revisions.changes(found, 0)
    indexes = GalleryIndexes(store, home)
    order = wanted.added[np.argsort(squared_l2(store.revisions.issued(found, PROBES), wanted.vectors), axis=1)]
    assert indexes.search(found, PROBES, len(wanted.added) + 10) == order.tolist()
    assert [loaded.references for loaded in indexes.loaded()] == [found.references]


def living(store: Store) -> Callable[[], list[Version]]:
    return lambda: [version_of(gallery) for gallery in store.galleries.list(100).items]


def delete_everything(engine: str, engine_home: EngineHomes) -> None:
    """As somebody would who looks after the engine."""
    if engine == "milvus":
        with MilvusServer(engine_home.milvus_uri).asked() as client:
            names = [name for name in client.list_collections() if engine_home.owner in name]
            assert len(names) >= 2
            for name in names:
                client.drop_collection(name)
        return
    database = open_engine(engine_home.vectors)
    with database.begin() as connection:
        connection.execute(text("DROP SCHEMA facesvc_vectors CASCADE"))
    database.dispose()


def test_what_one_process_built_another_finds(
    engine: str, engine_home: EngineHomes, store: Store, other: Store
) -> None:
    enrol(store, "ada", *range(5))
    here, there = engine_home(engine, store), engine_home(engine, other)
    assert_equal(store, here)
    kept = there.open(other.galleries.get("staff"))
    assert (kept.revision, len(kept.index), kept.index.kind, kept.index.nbytes) == (1, 5, engine, 0)


def test_processes_in_turn(engine: str, engine_home: EngineHomes, store: Store, other: Store) -> None:
    """Each sees at once what the other wrote, whichever of them brought the index up to it."""
    here = GalleryIndexes(store, engine_home(engine, store), step=2)
    there = GalleryIndexes(other, engine_home(engine, other), step=2)
    held: list[int] = []
    for round_ in range(4):
        held += enrol(store, "ada", *range(10 * round_, 10 * round_ + 3))
        for own, indexes in ((store, here), (other, there)):
            assert sorted(indexes.search(own.galleries.get("staff"), PROBES[:1], 100)[0]) == held
        removed = next(r for r in other.references.list("staff", "ada", 100).items if r.key == held[1])
        other.references.delete("staff", "ada", removed.id)
        del held[1]
        for own, indexes in ((store, here), (other, there)):
            assert sorted(indexes.search(own.galleries.get("staff"), PROBES[:1], 100)[0]) == held


def test_deleted_by_somebody(engine: str, engine_home: EngineHomes, store: Store) -> None:
    """It is filled again by the next search, of a process that had it open, too."""
    keys = enrol(store, "ada", 1, 2, 3)
    indexes = GalleryIndexes(store, engine_home(engine, store))
    gallery = store.galleries.get("staff")
    assert sorted(indexes.search(gallery, PROBES[:1], 9)[0]) == keys
    delete_everything(engine, engine_home)
    assert sorted(indexes.search(gallery, PROBES[:1], 9)[0]) == keys
    delete_everything(engine, engine_home)
    keys += enrol(store, "ada", 4)
    assert sorted(indexes.search(store.galleries.get("staff"), PROBES[:1], 9)[0]) == keys
    assert_equal(store, engine_home(engine, store))


def test_an_index_ahead_of_its_database(home: IndexHome, store: Store) -> None:
    """As after a backup was put back: what the index knows never happened."""
    enrol(store, "ada", 1, 2)
    kept = home.open(store.galleries.get("staff"))
    with kept.writing():
        kept.index.add(np.array([900, 901]), unit_vectors(2))
        kept.reached(7)
    assert_equal(store, home)


def test_a_number_given_again(home: IndexHome, store: Store) -> None:
    """By another database at the same address: its galleries were made at other times."""
    enrol(store, "ada", 1, 2)
    now = store.galleries.get("staff")
    earlier = replace(now, created_at=now.created_at - timedelta(days=365))
    kept = home.open(earlier)
    with kept.writing():
        kept.index.add(np.array([900]), unit_vectors(1))
        kept.reached(1)
    assert_equal(store, home)


def test_an_addition_that_was_cut_short(home: IndexHome, store: Store) -> None:
    """What was added and not noted, and was deleted meanwhile, is gone once the index is caught up."""
    enrol(store, "ada", 1)
    assert_equal(store, home)
    brief = store.references.add("staff", "bob", [new_reference(5)])[0]
    kept = home.open(store.galleries.get("staff"))
    with kept.writing():
        kept.index.add(np.array([brief.key]), unit_vectors(1, seed=5))
    store.references.delete("staff", "bob", brief.id)
    assert_equal(store, home)


def test_a_first_addition_that_was_cut_short(home: IndexHome, store: Store) -> None:
    brief = store.references.add("staff", "bob", [new_reference(5)])[0]
    kept = home.open(store.galleries.get("staff"))
    with kept.writing():
        kept.index.add(np.array([brief.key]), unit_vectors(1, seed=5))
    store.references.delete("staff", "bob", brief.id)
    enrol(store, "ada", 1)
    assert_equal(store, home)


def test_a_deleted_gallery_leaves_nothing(home: IndexHome, store: Store) -> None:
    """Also where the process was killed between the two deletions."""
    for name in ("guests", "visitors"):
        store.galleries.create(NewGallery(name), VERSION)
        enrol(store, "ada", 1, 2, gallery=name)
        assert_equal(store, home, name)
    assert_equal_empty(store, home)
    guests, visitors = store.galleries.get("guests"), store.galleries.get("visitors")
    store.galleries.delete("guests")
    home.drop(guests)
    assert home.sweep(living(store)) == []
    store.galleries.delete("visitors")
    (residue,) = home.sweep(living(store))
    assert f"_{visitors.key}_" in residue
    assert home.sweep(living(store)) == []
    assert [len(home.open(gallery).index) for gallery in (guests, visitors)] == [0, 0]


def assert_equal_empty(store: Store, home: IndexHome) -> None:
    assert GalleryIndexes(store, home).search(store.galleries.get("staff"), PROBES, 5) == [[], [], []]


def test_a_search_for_a_gallery_that_is_going(home: IndexHome, store: Store) -> None:
    enrol(store, "ada", 1)
    indexes, gallery = GalleryIndexes(store, home), store.galleries.get("staff")
    store.galleries.delete("staff")
    with pytest.raises(GalleryNotFound):
        indexes.search(gallery, PROBES, 1)
    assert home.sweep(living(store)) == []


def test_what_others_keep_is_left_alone(engine: str, engine_home: EngineHomes, store: Store, milvus_uri: str) -> None:
    """Another tenant's, and another database's."""
    tenant = new_tenant(store.engine, "another tenant")
    tenant.galleries.create(NewGallery("theirs"), VERSION)
    if engine == "milvus":
        theirs: IndexHome = MilvusHome(MilvusServer(milvus_uri), f"{engine_home.owner}2", tenant.locks.alone)
    else:
        theirs = engine_home(engine, tenant)
    enrol(tenant, "ada", 1, 2, gallery="theirs")
    assert_equal(tenant, theirs, "theirs")
    ours = engine_home(engine, store)
    assert_equal_empty(store, ours)
    assert ours.sweep(list) != []
    ours.drop(tenant.galleries.get("theirs"))
    kept = theirs.open(tenant.galleries.get("theirs"))
    assert (kept.revision, len(kept.index)) == (1, 2)


def test_a_gallery_given_to_another_keeper(engine: str, engine_home: EngineHomes, store: Store) -> None:
    """The engine that kept it before has nothing of it any more; other galleries are where they were."""
    store.galleries.create(NewGallery("guests"), VERSION)
    keys = {name: enrol(store, "ada", 1, 2, gallery=name) for name in ("staff", "guests")}
    own, memory = engine_home(engine, store), MemoryHome(FlatIndex)
    before = GalleryIndexes(store, ChosenHomes(own, {}))
    after = GalleryIndexes(store, ChosenHomes(own, {"guests": memory}))
    for indexes, kinds in ((before, [engine, engine]), (after, ["flat", engine])):
        for name in ("staff", "guests"):
            assert sorted(indexes.search(store.galleries.get(name), PROBES[:1], 9)[0]) == keys[name]
        assert [loaded.kind for loaded in indexes.loaded()] == kinds
    assert own.sweep(living(store)) == []
    assert [own.open(store.galleries.get(name)).revision for name in ("guests", "staff")] == [0, 1]


# --- engines that are away -----------------------------------------------------------------------------


@pytest.fixture
def away(engine: str, store: Store) -> Iterator[IndexHome]:
    """A home of an engine that nobody listens for."""
    if engine == "milvus":
        yield MilvusHome(MilvusServer("http://127.0.0.1:1"), "away", store.locks.alone)
        return
    database = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    yield PgVectorHome(database, store.tenant)
    database.dispose()


def test_an_engine_that_is_away(away: IndexHome, store: Store) -> None:
    enrol(store, "ada", 1)
    indexes, gallery = GalleryIndexes(store, away), store.galleries.get("staff")
    with pytest.raises(IndexUnavailable, match="does not answer as it should"):
        indexes.search(gallery, PROBES, 1)
    for call in (lambda: away.drop(gallery), lambda: away.sweep(living(store))):
        with pytest.raises(IndexUnavailable):
            call()
    assert indexes.loaded() == []


def test_other_galleries_answer_while_an_engine_is_away(away: IndexHome, store: Store) -> None:
    keys = enrol(store, "ada", 1, 2)
    store.galleries.create(NewGallery("guests"), VERSION)
    indexes = GalleryIndexes(store, ChosenHomes(MemoryHome(FlatIndex), {"guests": away}))
    assert sorted(indexes.search(store.galleries.get("staff"), PROBES[:1], 5)[0]) == keys
    with pytest.raises(IndexUnavailable):
        indexes.search(store.galleries.get("guests"), PROBES, 5)
    with pytest.raises(IndexUnavailable):
        indexes.follow(lambda: False)
    assert [loaded.gallery for loaded in indexes.loaded()] == ["staff"]


def test_pgvector_wants_postgresql(tmp_path: Path) -> None:
    database = open_engine(f"sqlite:///{tmp_path / 'facesvc.db'}")
    with pytest.raises(IndexUnavailable, match="pgvector is an extension of PostgreSQL"):
        PgVectorHome(database, "default")
    database.dispose()


def test_a_user_who_may_not_install_the_extension(postgresql_admin: str, store: Store) -> None:
    with postgresql_database(postgresql_admin, template="template1") as url:
        admin = open_engine(url)
        with admin.begin() as connection:
            connection.execute(text("CREATE ROLE humble LOGIN"))
        humble = open_engine(admin.url.set(username="humble", password=None).render_as_string(hide_password=False))
        with pytest.raises(IndexUnavailable, match="have an administrator install pgvector and run CREATE EXTENSION"):
            PgVectorHome(humble, store.tenant).open(store.galleries.get("staff"))
        humble.dispose()
        with admin.begin() as connection:
            connection.execute(text("DROP ROLE humble"))
        admin.dispose()


@pytest.mark.slow
def test_milvus_that_comes_back(store: Store, tmp_path: Path) -> None:
    with milvus(tmp_path / "data") as server:
        indexes = GalleryIndexes(store, MilvusHome(MilvusServer(server.uri), "back", store.locks.alone))
        keys = enrol(store, "ada", 1, 2)
        assert sorted(indexes.search(store.galleries.get("staff"), PROBES[:1], 9)[0]) == keys
        server.kill()
        for _ in range(2):
            with pytest.raises(IndexUnavailable, match="Milvus does not answer as it should"):
                indexes.search(store.galleries.get("staff"), PROBES, 9)
        keys += enrol(store, "ada", 3)
        server.start()
        assert sorted(answered(lambda: indexes.search(store.galleries.get("staff"), PROBES[:1], 9)[0])) == keys
        assert_equal(store, MilvusHome(MilvusServer(server.uri), "back", store.locks.alone))


def answered(search: Callable[[], list[int]]) -> list[int]:
    """The first answer that is no refusal."""
    end, pause = monotonic() + BACK_SECONDS, Event()
    while True:
        try:
            return search()
        except IndexUnavailable:
            if monotonic() > end:
                raise
            pause.wait(0.2)


def test_transactions_are_told_apart_from_their_contents(engine_home: EngineHomes) -> None:
    """Only the database's own failures are the engine's."""
    database = open_engine(engine_home.vectors)
    with pytest.raises(ZeroDivisionError), transaction(database):
        raise ZeroDivisionError
    with pytest.raises(IndexUnavailable), transaction(database, seconds=1) as connection:
        connection.execute(text("SELECT pg_sleep(20)"))
    database.dispose()


@pytest.mark.xdist_group("engines")
def test_a_collection_that_was_made_by_half(engine_home: EngineHomes, store: Store) -> None:
    """Whoever made it was killed before it had an index, or could be searched."""
    enrol(store, "ada", 1, 2)
    home = engine_home("milvus", store)
    kept = home.open(store.galleries.get("staff"))
    assert isinstance(kept.index, MilvusIndex)
    with MilvusServer(engine_home.milvus_uri).asked() as client:
        client.release_collection(kept.index.name)
        client.drop_index(kept.index.name, "vector")
    assert_equal(store, engine_home("milvus", store))
