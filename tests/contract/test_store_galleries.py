"""Galleries of core.ports.Store, by values, on every database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from facesvc.core.types import Gallery, GalleryChange, NewGallery, NewSubject
from facesvc.errors import (
    GalleryExists,
    GalleryNotFound,
    InvalidCursor,
    PhotographNotFound,
    RequestError,
)
from facesvc.storage.store import Store
from facesvc.storage.tables import PhotographRow, ReferenceRow, RevisionRow, SubjectRow
from tests.contract.values import JPEG, NAMES, assert_same, counts, paged, rows
from tests.support.databases import VERSION, new_reference


def test_gallery_as_created(store: Store) -> None:
    before = datetime.now(UTC)
    created = store.galleries.create(NewGallery("guests", True, {"floor": 3, "tags": ["ä", None]}), VERSION)
    assert before <= created.created_at <= datetime.now(UTC)
    assert created.created_at.utcoffset() == timedelta(0)
    assert created == Gallery(
        key=created.key,
        name="guests",
        template_version=VERSION,
        keep_photographs=True,
        revision=0,
        subjects=0,
        references=0,
        metadata={"floor": 3, "tags": ["ä", None]},
        created_at=created.created_at,
        templates=0,
        shadow=None,
        issue=1,
    )
    assert store.galleries.get("guests") == created


def test_gallery_names_are_unique(store: Store) -> None:
    with pytest.raises(GalleryExists, match="gallery 'staff' exists already"):
        store.galleries.create(NewGallery("staff", True), "sha256:other")
    assert store.galleries.get("staff").template_version == VERSION


def test_galleries_in_pages(store: Store) -> None:
    for name in NAMES:
        store.galleries.create(NewGallery(name), VERSION)
    found = paged(lambda cursor: store.galleries.list(4, cursor), lambda gallery: gallery.name)
    assert sorted(found) == sorted([*NAMES, "staff"])


def test_last_page_has_no_cursor(store: Store) -> None:
    store.galleries.create(NewGallery("guests"), VERSION)
    assert store.galleries.list(2).next_cursor is None
    first = store.galleries.list(1)
    found = [gallery.name for gallery in (*first.items, *store.galleries.list(1, first.next_cursor).items)]
    assert sorted(found) == ["guests", "staff"]


@pytest.mark.parametrize("limit", [0, -1])
def test_page_sizes_below_one(store: Store, limit: int) -> None:
    store.subjects.create("staff", NewSubject("ada"))
    for listing in (
        lambda: store.galleries.list(limit),
        lambda: store.subjects.list("staff", limit),
        lambda: store.references.list("staff", "ada", limit),
    ):
        with pytest.raises(RequestError, match="limit must be at least 1"):
            listing()


def test_cursors_of_other_listings(store: Store) -> None:
    store.galleries.create(NewGallery("guests"), VERSION)
    for name in ("ada", "bob"):
        store.references.add("staff", name, [new_reference(1), new_reference(2)])
        store.subjects.create("guests", NewSubject(name))
    cursors = [
        store.galleries.list(1).next_cursor,
        store.subjects.list("staff", 1).next_cursor,
        store.references.list("staff", "ada", 1).next_cursor,
        "garbage",
    ]
    for cursor in cursors:
        with pytest.raises(InvalidCursor):
            store.subjects.list("guests", 1, cursor)
        with pytest.raises(InvalidCursor):
            store.references.list("staff", "bob", 1, cursor)
    for cursor in cursors[1:]:
        with pytest.raises(InvalidCursor):
            store.galleries.list(1, cursor)


def test_update_gallery_changes_what_is_given(store: Store) -> None:
    created = store.galleries.get("staff")
    assert store.galleries.update("staff", GalleryChange()) == created
    assert store.galleries.update("staff", GalleryChange(metadata={"floor": 2})) == replace(
        created, metadata={"floor": 2}
    )
    changed = store.galleries.update("staff", GalleryChange(keep_photographs=True))
    assert changed == replace(created, metadata={"floor": 2}, keep_photographs=True)
    assert store.galleries.get("staff") == changed


def test_photographs_go_when_no_longer_kept(store: Store) -> None:
    store.galleries.update("staff", GalleryChange(keep_photographs=True))
    (reference,) = store.references.add("staff", "ada", [new_reference(1, photograph=JPEG)])
    assert reference.has_photograph
    assert rows(store, PhotographRow) == 1
    store.galleries.update("staff", GalleryChange(keep_photographs=False))
    assert rows(store, PhotographRow) == 0
    (left,) = store.references.list("staff", "ada", 1).items
    assert_same(left, replace(reference, has_photograph=False))
    with pytest.raises(PhotographNotFound):
        store.references.photograph("staff", "ada", reference.id)


def test_deleted_gallery_takes_its_rows_and_no_others(store: Store) -> None:
    store.galleries.create(NewGallery("guests", True), VERSION)
    for gallery in ("staff", "guests"):
        store.references.add(gallery, "ada", [new_reference(1, photograph=JPEG), new_reference(2)])
    store.galleries.delete("guests")
    with pytest.raises(GalleryNotFound, match="no gallery 'guests'"):
        store.galleries.get("guests")
    left = (rows(store, SubjectRow), rows(store, ReferenceRow), rows(store, PhotographRow), rows(store, RevisionRow))
    assert left == (1, 2, 0, 2)
    assert counts(store) == (1, 1, 2)


def test_keys_are_never_given_again(store: Store) -> None:
    old = store.galleries.create(NewGallery("guests"), VERSION)
    (reference,) = store.references.add("guests", "ada", [new_reference(1)])
    store.galleries.delete("guests")
    new = store.galleries.create(NewGallery("guests"), VERSION)
    assert new.key > old.key
    (again,) = store.references.add("guests", "ada", [new_reference(1)])
    assert again.key > reference.key
    assert again.id != reference.id
    assert store.references.by_key(old, [again.key]) == []
    with pytest.raises(GalleryNotFound):
        store.revisions.changes(old, 0)
