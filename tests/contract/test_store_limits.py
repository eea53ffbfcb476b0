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
from facesvc.storage.references import SqlReferenceStore
from tests.contract.values import JPEG, counts
from tests.support.databases import VERSION, new_reference, new_tenant

END_THE_OTHERS = """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND datname = current_database()"""


def test_tenants_see_nothing_of_each_other(store: SqlReferenceStore) -> None:
    theirs = new_tenant(store.engine, "acme")
    (ours,) = store.add_references("staff", "ada", [new_reference(1, photograph=JPEG)])
    assert theirs.galleries(10) == Page((), None)
    for call in calls_of_a_missing_gallery(theirs, "staff"):
        with pytest.raises(GalleryNotFound):
            call()
    with pytest.raises(GalleryNotFound):
        theirs.changes(store.gallery("staff"), 0)
    assert theirs.references_by_key(store.gallery("staff"), [ours.key]) == []
    theirs.create_gallery(NewGallery("staff"), "sha256:other")
    theirs.delete_gallery("staff")
    assert counts(store) == (1, 1, 1)


def calls_of_a_missing_gallery(store: SqlReferenceStore, name: str) -> list[Callable[[], object]]:
    return [
        lambda: store.gallery(name),
        lambda: store.update_gallery(name, GalleryChange(metadata={})),
        lambda: store.delete_gallery(name),
        lambda: store.create_subject(name, NewSubject("ada")),
        lambda: store.subject(name, "ada"),
        lambda: store.subjects(name, 10),
        lambda: store.update_subject(name, "ada", SubjectChange(metadata={})),
        lambda: store.delete_subject(name, "ada"),
        lambda: store.add_references(name, "ada", [new_reference(1)]),
        lambda: store.references(name, "ada", 10),
        lambda: store.delete_reference(name, "ada", "ref_x"),
        lambda: store.photograph(name, "ada", "ref_x"),
    ]


def test_names_that_are_not_there(store: SqlReferenceStore) -> None:
    for call in calls_of_a_missing_gallery(store, "nowhere"):
        with pytest.raises(GalleryNotFound, match="no gallery 'nowhere'"):
            call()
    for call in (
        lambda: store.subject("staff", "eve"),
        lambda: store.update_subject("staff", "eve", SubjectChange(display_name="Eve")),
        lambda: store.delete_subject("staff", "eve"),
        lambda: store.references("staff", "eve", 10),
        lambda: store.delete_reference("staff", "eve", "ref_x"),
        lambda: store.photograph("staff", "eve", "ref_x"),
    ):
        with pytest.raises(SubjectNotFound, match="no subject 'eve' in gallery 'staff'"):
            call()
    assert counts(store) == (0, 0, 0)


@pytest.mark.parametrize("name", ["nul\0", "\ud800", "x" * 257, "ä" * 257], ids=["nul", "surrogate", "long", "long ä"])
def test_text_that_a_database_refuses(store: SqlReferenceStore, name: str) -> None:
    for call in (
        lambda: store.gallery(name),
        lambda: store.add_references("staff", name, [new_reference(1)]),
    ):
        with pytest.raises(RequestError, match="a value can't be stored"):
            call()
    assert counts(store) == (0, 0, 0)
    for call in (
        lambda: store.create_gallery(NewGallery(name), VERSION),
        lambda: store.create_subject("staff", NewSubject(name)),
        lambda: store.create_subject("staff", NewSubject("ada", name)),
    ):
        with pytest.raises(RequestError, match=r"a value can't be stored|can't be a name|a display name takes"):
            call()


def test_longest_text_is_kept(store: SqlReferenceStore) -> None:
    assert store.create_subject("staff", NewSubject("😀" * 128, "日" * 256)) == store.subject("staff", "😀" * 128)
    assert store.subjects("staff", 1).items[0].display_name == "日" * 256


@pytest.mark.parametrize("value", [float("nan"), object(), {1}, "\ud800"], ids=["nan", "object", "set", "surrogate"])
def test_metadata_that_is_not_json(store: SqlReferenceStore, value: object) -> None:
    with pytest.raises(RequestError, match=r"a value can't be stored|metadata must be JSON"):
        store.create_gallery(NewGallery("guests", False, {"value": value}), VERSION)
    with pytest.raises(RequestError, match=r"a value can't be stored|metadata must be JSON"):
        store.update_gallery("staff", GalleryChange(metadata={"value": value}))
    assert store.gallery("staff").metadata == {}


def test_metadata_comes_back_as_it_went(store: SqlReferenceStore) -> None:
    metadata = {"text": "quote ' emoji 😀", "big": 2**60, "half": 0.5, "list": [True, None, {}], "": ""}
    assert store.update_gallery("staff", GalleryChange(metadata=metadata)).metadata == metadata
    assert store.gallery("staff").metadata == metadata


def test_ping_of_a_database_that_answers(store: SqlReferenceStore) -> None:
    assert store.ping() is None


def test_closed_port_is_unavailable(store: SqlReferenceStore) -> None:
    engine = open_engine("postgresql://nobody:secret@127.0.0.1:1/faces")
    store = SqlReferenceStore(engine, store.tenant, store.codec)
    for call in (store.ping, lambda: store.gallery("staff"), lambda: store.create_gallery(NewGallery("g"), VERSION)):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert caught.value.detail == "Database not available"  # no host, no user, no password


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_connections_that_the_server_ended_cost_no_request(store: SqlReferenceStore, other: SqlReferenceStore) -> None:
    store.ping()
    with other.engine.begin() as connection:
        ended = connection.execute(text(END_THE_OTHERS))
        assert ended.scalar_one() >= 1
    assert store.gallery("staff").references == 0
