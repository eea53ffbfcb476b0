"""What the store refuses, and whom: other tenants, names that are not there, text that can't be stored, no database."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from facesvc.core.types import GalleryChange, NewGallery, NewSubject, Page, SubjectChange
from facesvc.errors import (
    GalleryNotFound,
    RequestError,
    StoreUnavailable,
    SubjectNotFound,
)
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from tests.contract.values import JPEG, counts
from tests.support.databases import VERSION, new_reference, new_tenant

END_THE_OTHERS = """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND datname = current_database()"""


def test_tenants_see_nothing_of_each_other(store: Store) -> None:
    theirs = new_tenant(store.engine, "acme")
    (ours,) = store.references.add("staff", "ada", [new_reference(1, photograph=JPEG)])
    assert theirs.galleries.list(10) == Page((), None)
    for call in calls_of_a_missing_gallery(theirs, "staff"):
        with pytest.raises(GalleryNotFound):
            call()
    with pytest.raises(GalleryNotFound):
        theirs.revisions.changes(store.galleries.get("staff"), 0)
    assert theirs.references.by_key(store.galleries.get("staff"), [ours.key]) == []
    theirs.galleries.create(NewGallery("staff"), "sha256:other")
    theirs.galleries.delete("staff")
    assert counts(store) == (1, 1, 1)


def calls_of_a_missing_gallery(store: Store, name: str) -> list[Callable[[], object]]:
    return [
        lambda: store.galleries.get(name),
        lambda: store.galleries.update(name, GalleryChange(metadata={})),
        lambda: store.galleries.delete(name),
        lambda: store.subjects.create(name, NewSubject("ada")),
        lambda: store.subjects.get(name, "ada"),
        lambda: store.subjects.list(name, 10),
        lambda: store.subjects.update(name, "ada", SubjectChange(metadata={})),
        lambda: store.subjects.delete(name, "ada"),
        lambda: store.references.add(name, "ada", [new_reference(1)]),
        lambda: store.references.list(name, "ada", 10),
        lambda: store.references.delete(name, "ada", "ref_x"),
        lambda: store.references.photograph(name, "ada", "ref_x"),
    ]


def test_names_that_are_not_there(store: Store) -> None:
    for call in calls_of_a_missing_gallery(store, "nowhere"):
        with pytest.raises(GalleryNotFound, match="no gallery 'nowhere'"):
            call()
    for call in (
        lambda: store.subjects.get("staff", "eve"),
        lambda: store.subjects.update("staff", "eve", SubjectChange(display_name="Eve")),
        lambda: store.subjects.delete("staff", "eve"),
        lambda: store.references.list("staff", "eve", 10),
        lambda: store.references.delete("staff", "eve", "ref_x"),
        lambda: store.references.photograph("staff", "eve", "ref_x"),
    ):
        with pytest.raises(SubjectNotFound, match="no subject 'eve' in gallery 'staff'"):
            call()
    assert counts(store) == (0, 0, 0)


@pytest.mark.parametrize("name", ["nul\0", "\ud800", "x" * 257, "ä" * 257], ids=["nul", "surrogate", "long", "long ä"])
def test_text_that_a_database_refuses(store: Store, name: str) -> None:
    for call in (
        lambda: store.galleries.get(name),
        lambda: store.references.add("staff", name, [new_reference(1)]),
    ):
        with pytest.raises(RequestError, match="a value can't be stored"):
            call()
    assert counts(store) == (0, 0, 0)
    for call in (
        lambda: store.galleries.create(NewGallery(name), VERSION),
        lambda: store.subjects.create("staff", NewSubject(name)),
        lambda: store.subjects.create("staff", NewSubject("ada", name)),
    ):
        with pytest.raises(RequestError, match=r"a value can't be stored|can't be a name|a display name takes"):
            call()


def test_longest_text_is_kept(store: Store) -> None:
    assert store.subjects.create("staff", NewSubject("😀" * 128, "日" * 256)) == store.subjects.get("staff", "😀" * 128)
    assert store.subjects.list("staff", 1).items[0].display_name == "日" * 256


@pytest.mark.parametrize("value", [float("nan"), object(), {1}, "\ud800"], ids=["nan", "object", "set", "surrogate"])
def test_metadata_that_is_not_json(store: Store, value: object) -> None:
    with pytest.raises(RequestError, match=r"a value can't be stored|metadata must be JSON"):
        store.galleries.create(NewGallery("guests", False, {"value": value}), VERSION)
    with pytest.raises(RequestError, match=r"a value can't be stored|metadata must be JSON"):
        store.galleries.update("staff", GalleryChange(metadata={"value": value}))
    assert store.galleries.get("staff").metadata == {}


def test_metadata_comes_back_as_it_went(store: Store) -> None:
    metadata = {"text": "quote ' emoji 😀", "big": 2**60, "half": 0.5, "list": [True, None, {}], "": ""}
    assert store.galleries.update("staff", GalleryChange(metadata=metadata)).metadata == metadata
    assert store.galleries.get("staff").metadata == metadata


def test_ping_of_a_database_that_answers(store: Store) -> None:
    assert store.ping() is None


def test_closed_port_is_unavailable(store: Store) -> None:
    engine = open_engine("postgresql://nobody:secret@127.0.0.1:1/faces")
    store = Store(engine, store.tenant, store.codec)
    for call in (
        store.ping,
        lambda: store.galleries.get("staff"),
        lambda: store.galleries.create(NewGallery("g"), VERSION),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert caught.value.detail == "Database not available"  # no host, no user, no password


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_connections_that_the_server_ended_cost_no_request(store: Store, other: Store) -> None:
    store.ping()
    with other.engine.begin() as connection:
        ended = connection.execute(text(END_THE_OTHERS))
        assert ended.scalar_one() >= 1
    assert store.galleries.get("staff").references == 0
