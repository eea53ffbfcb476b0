"""References of core.ports.Store, by values, on every database."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from facesvc.core.types import NewGallery, NewSubject, Photograph, Reference
from facesvc.errors import (
    PhotographNotFound,
    ReferenceNotFound,
    StoreError,
    SubjectNotFound,
    TemplateVersionMismatch,
)
from facesvc.storage.store import Store
from facesvc.storage.tables import PhotographRow
from tests.contract.values import JPEG, assert_same, counts, paged, rows
from tests.support.databases import VERSION, new_reference, unit_vectors


def test_reference_as_stored(store: Store) -> None:
    before = datetime.now(UTC)
    new = new_reference(7)
    (stored,) = store.references.add("staff", "ada", [new])
    assert before <= stored.created_at <= datetime.now(UTC)
    assert re.fullmatch(r"ref_[0-9a-f]{26}", stored.id)
    assert_same(
        stored,
        Reference(stored.key, stored.id, "ada", None, new.sample, new.image_sha256, False, stored.created_at),
    )
    (listed,) = store.references.list("staff", "ada", 10).items
    assert_same(listed, stored)
    (found,) = store.references.by_key(store.galleries.get("staff"), [stored.key])
    assert_same(found, stored)


def test_enrolment_counts_and_makes_the_subject(store: Store) -> None:
    store.references.add("staff", "ada", [new_reference(1), new_reference(2)])
    assert counts(store) == (1, 1, 2)
    created = store.subjects.get("staff", "ada")
    assert (created.references, created.display_name, created.metadata) == (2, None, {})
    store.references.add("staff", "ada", [new_reference(3)])
    assert counts(store) == (2, 1, 3)
    again = store.subjects.get("staff", "ada")
    assert (again.references, again.created_at) == (3, created.created_at)
    assert again.updated_at > created.updated_at


def test_display_name_comes_with_references(store: Store) -> None:
    store.subjects.create("staff", NewSubject("ada", "Ada Lovelace"))
    (reference,) = store.references.add("staff", "ada", [new_reference(1)])
    assert reference.display_name == "Ada Lovelace"
    assert store.references.by_key(store.galleries.get("staff"), [reference.key])[0].display_name == "Ada Lovelace"


def test_same_photograph_and_box_is_stored_once(store: Store) -> None:
    first, second = store.references.add("staff", "ada", [new_reference(1), new_reference(2)])
    again = store.references.add("staff", "ada", [new_reference(2), new_reference(3), new_reference(1)])
    assert [again[0].id, again[2].id] == [second.id, first.id]
    assert_same(again[2], first)
    assert counts(store) == (2, 1, 3)
    assert store.references.add("staff", "ada", [new_reference(1)])[0].key == first.key
    assert counts(store) == (2, 1, 3)


def test_same_reference_twice_in_one_request(store: Store) -> None:
    first, second, third = store.references.add("staff", "ada", [new_reference(1), new_reference(2), new_reference(1)])
    assert first.id == third.id != second.id
    assert counts(store) == (1, 1, 2)


def test_two_faces_of_one_photograph_are_two_references(store: Store) -> None:
    one, two = new_reference(1), replace(new_reference(2), image_sha256=new_reference(1).image_sha256)
    first, second = store.references.add("staff", "ada", [one, two])
    assert first.id != second.id
    assert counts(store) == (1, 1, 2)


def test_two_subjects_may_share_a_photograph(store: Store) -> None:
    (ada,) = store.references.add("staff", "ada", [new_reference(1)])
    (bob,) = store.references.add("staff", "bob", [new_reference(1)])
    assert ada.id != bob.id
    assert counts(store) == (2, 2, 2)


def test_other_template_version_stores_nothing(store: Store) -> None:
    with pytest.raises(TemplateVersionMismatch, match="sha256:other can't be compared with sha256:test"):
        store.references.add("staff", "ada", [new_reference(1), new_reference(2, version="sha256:other")])
    assert counts(store) == (0, 0, 0)
    with pytest.raises(SubjectNotFound):
        store.subjects.get("staff", "ada")


def test_templates_that_are_no_vectors_store_nothing(store: Store) -> None:
    for vector in (np.full(128, np.nan, np.float32), np.full(128, np.inf, np.float32), unit_vectors(1, 0, 64)[0]):
        new = new_reference(1)
        bad = replace(new, sample=replace(new.sample, template=replace(new.sample.template, vector=vector)))
        with pytest.raises(StoreError, match="template"):
            store.references.add("staff", "ada", [new_reference(2), bad])
    assert counts(store) == (0, 0, 0)


def test_no_references_make_no_subject(store: Store) -> None:
    assert store.references.add("staff", "ada", []) == []
    assert counts(store) == (0, 0, 0)


def test_references_oldest_first_in_pages(store: Store) -> None:
    ids = [store.references.add("staff", "ada", [new_reference(i)])[0].id for i in range(7)]
    store.references.add("staff", "bob", [new_reference(99)])
    assert paged(lambda cursor: store.references.list("staff", "ada", 3, cursor), lambda reference: reference.id) == ids


def test_references_by_key_gives_those_of_the_gallery(store: Store) -> None:
    guests = store.galleries.create(NewGallery("guests"), VERSION)
    kept, gone = store.references.add("staff", "ada", [new_reference(1), new_reference(2)])
    (foreign,) = store.references.add("guests", "bob", [new_reference(3)])
    store.references.delete("staff", "ada", gone.id)
    keys = [foreign.key, gone.key, 10**9, kept.key]
    assert [reference.id for reference in store.references.by_key(store.galleries.get("staff"), keys)] == [kept.id]
    assert [reference.id for reference in store.references.by_key(guests, keys)] == [foreign.id]
    assert store.references.by_key(guests, []) == []


def test_references_by_more_keys_than_a_statement_takes(store: Store) -> None:
    (reference,) = store.references.add("staff", "ada", [new_reference(1)])
    keys = [*range(10**6, 10**6 + 70_000), reference.key]
    assert [found.id for found in store.references.by_key(store.galleries.get("staff"), keys)] == [reference.id]


def test_delete_reference(store: Store) -> None:
    first, second = store.references.add("staff", "ada", [new_reference(1), new_reference(2)])
    store.references.delete("staff", "ada", first.id)
    assert [reference.id for reference in store.references.list("staff", "ada", 10).items] == [second.id]
    assert counts(store) == (2, 1, 1)
    assert store.subjects.get("staff", "ada").references == 1
    with pytest.raises(ReferenceNotFound, match=f"no reference '{first.id}' of subject 'ada'"):
        store.references.delete("staff", "ada", first.id)
    (again,) = store.references.add("staff", "ada", [new_reference(1)])
    assert again.key > second.key


def test_reference_of_another_subject(store: Store) -> None:
    store.subjects.create("staff", NewSubject("bob"))
    (reference,) = store.references.add("staff", "ada", [new_reference(1)])
    with pytest.raises(ReferenceNotFound):
        store.references.delete("staff", "bob", reference.id)
    with pytest.raises(ReferenceNotFound):
        store.references.photograph("staff", "bob", reference.id)
    assert counts(store) == (2, 2, 1)


def test_photographs_are_kept_where_the_gallery_says_so(store: Store) -> None:
    store.galleries.create(NewGallery("guests", True), VERSION)
    new = new_reference(1, photograph=JPEG)
    (kept,) = store.references.add("guests", "ada", [new])
    (not_kept,) = store.references.add("staff", "ada", [new])
    assert (kept.has_photograph, not_kept.has_photograph) == (True, False)
    assert store.references.photograph("guests", "ada", kept.id) == Photograph(JPEG, "image/jpeg")
    with pytest.raises(PhotographNotFound, match=f"no photograph kept of '{not_kept.id}'"):
        store.references.photograph("staff", "ada", not_kept.id)
    store.references.delete("guests", "ada", kept.id)
    assert rows(store, PhotographRow) == 0
