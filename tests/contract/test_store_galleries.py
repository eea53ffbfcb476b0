"""Galleries of core.ports.ReferenceStore, by values, on every database."""

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
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.tables import PhotographRow, ReferenceRow, RevisionRow, SubjectRow
from tests.contract.values import JPEG, NAMES, assert_same, counts, paged, rows
from tests.support.databases import VERSION, new_reference


def test_gallery_as_created(store: SqlReferenceStore) -> None:
    before = datetime.now(UTC)
    created = store.create_gallery(NewGallery("guests", True, {"floor": 3, "tags": ["ä", None]}), VERSION)
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
    assert store.gallery("guests") == created


def test_gallery_names_are_unique(store: SqlReferenceStore) -> None:
    with pytest.raises(GalleryExists, match="gallery 'staff' exists already"):
        store.create_gallery(NewGallery("staff", True), "sha256:other")
    assert store.gallery("staff").template_version == VERSION


def test_galleries_in_pages(store: SqlReferenceStore) -> None:
    for name in NAMES:
        store.create_gallery(NewGallery(name), VERSION)
    found = paged(lambda cursor: store.galleries(4, cursor), lambda gallery: gallery.name)
    assert sorted(found) == sorted([*NAMES, "staff"])


def test_last_page_has_no_cursor(store: SqlReferenceStore) -> None:
    store.create_gallery(NewGallery("guests"), VERSION)
    assert store.galleries(2).next_cursor is None
    first = store.galleries(1)
    found = [gallery.name for gallery in (*first.items, *store.galleries(1, first.next_cursor).items)]
    assert sorted(found) == ["guests", "staff"]


@pytest.mark.parametrize("limit", [0, -1])
def test_page_sizes_below_one(store: SqlReferenceStore, limit: int) -> None:
    store.create_subject("staff", NewSubject("ada"))
    for listing in (
        lambda: store.galleries(limit),
        lambda: store.subjects("staff", limit),
        lambda: store.references("staff", "ada", limit),
    ):
        with pytest.raises(RequestError, match="limit must be at least 1"):
            listing()


def test_cursors_of_other_listings(store: SqlReferenceStore) -> None:
    store.create_gallery(NewGallery("guests"), VERSION)
    for name in ("ada", "bob"):
        store.add_references("staff", name, [new_reference(1), new_reference(2)])
        store.create_subject("guests", NewSubject(name))
    cursors = [
        store.galleries(1).next_cursor,
        store.subjects("staff", 1).next_cursor,
        store.references("staff", "ada", 1).next_cursor,
        "garbage",
    ]
    for cursor in cursors:
        with pytest.raises(InvalidCursor):
            store.subjects("guests", 1, cursor)
        with pytest.raises(InvalidCursor):
            store.references("staff", "bob", 1, cursor)
    for cursor in cursors[1:]:
        with pytest.raises(InvalidCursor):
            store.galleries(1, cursor)


def test_update_gallery_changes_what_is_given(store: SqlReferenceStore) -> None:
    created = store.gallery("staff")
    assert store.update_gallery("staff", GalleryChange()) == created
    assert store.update_gallery("staff", GalleryChange(metadata={"floor": 2})) == replace(
        created, metadata={"floor": 2}
    )
    changed = store.update_gallery("staff", GalleryChange(keep_photographs=True))
    assert changed == replace(created, metadata={"floor": 2}, keep_photographs=True)
    assert store.gallery("staff") == changed


def test_photographs_go_when_no_longer_kept(store: SqlReferenceStore) -> None:
    store.update_gallery("staff", GalleryChange(keep_photographs=True))
    (reference,) = store.add_references("staff", "ada", [new_reference(1, photograph=JPEG)])
    assert reference.has_photograph
    assert rows(store, PhotographRow) == 1
    store.update_gallery("staff", GalleryChange(keep_photographs=False))
    assert rows(store, PhotographRow) == 0
    (left,) = store.references("staff", "ada", 1).items
    assert_same(left, replace(reference, has_photograph=False))
    with pytest.raises(PhotographNotFound):
        store.photograph("staff", "ada", reference.id)


def test_deleted_gallery_takes_its_rows_and_no_others(store: SqlReferenceStore) -> None:
    store.create_gallery(NewGallery("guests", True), VERSION)
    for gallery in ("staff", "guests"):
        store.add_references(gallery, "ada", [new_reference(1, photograph=JPEG), new_reference(2)])
    store.delete_gallery("guests")
    with pytest.raises(GalleryNotFound, match="no gallery 'guests'"):
        store.gallery("guests")
    left = (rows(store, SubjectRow), rows(store, ReferenceRow), rows(store, PhotographRow), rows(store, RevisionRow))
    assert left == (1, 2, 0, 2)
    assert counts(store) == (1, 1, 2)


def test_keys_are_never_given_again(store: SqlReferenceStore) -> None:
    old = store.create_gallery(NewGallery("guests"), VERSION)
    (reference,) = store.add_references("guests", "ada", [new_reference(1)])
    store.delete_gallery("guests")
    new = store.create_gallery(NewGallery("guests"), VERSION)
    assert new.key > old.key
    (again,) = store.add_references("guests", "ada", [new_reference(1)])
    assert again.key > reference.key
    assert again.id != reference.id
    assert store.references_by_key(old, [again.key]) == []
    with pytest.raises(GalleryNotFound):
        store.changes(old, 0)
