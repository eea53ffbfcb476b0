"""Subjects of core.ports.Store, by values, on every database."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from facesvc.core.types import GalleryChange, NewGallery, NewSubject, Subject, SubjectChange
from facesvc.errors import (
    SubjectExists,
    SubjectNotFound,
)
from facesvc.storage.store import Store
from facesvc.storage.tables import PhotographRow, ReferenceRow, RevisionRow, SubjectRow
from tests.contract.values import JPEG, NAMES, counts, paged, rows
from tests.support.databases import VERSION, new_reference


def test_subject_as_created(store: Store) -> None:
    before = datetime.now(UTC)
    created = store.subjects.create("staff", NewSubject("ada", "Ada Lovelace", {"born": 1815}))
    assert before <= created.created_at <= datetime.now(UTC)
    assert created == Subject("ada", "staff", "Ada Lovelace", {"born": 1815}, 0, created.created_at, created.created_at)
    assert store.subjects.get("staff", "ada") == created
    assert counts(store) == (1, 1, 0)


def test_subject_ids_are_unique_in_their_gallery(store: Store) -> None:
    store.galleries.create(NewGallery("guests"), VERSION)
    store.subjects.create("staff", NewSubject("ada", "Ada"))
    with pytest.raises(SubjectExists, match="subject 'ada' exists already in 'staff'"):
        store.subjects.create("staff", NewSubject("ada", "Another"))
    assert store.subjects.get("staff", "ada").display_name == "Ada"
    assert store.subjects.create("guests", NewSubject("ada", "Another")).display_name == "Another"
    assert counts(store) == (1, 1, 0)


def test_subjects_in_pages(store: Store) -> None:
    for name in NAMES:
        store.subjects.create("staff", NewSubject(name))
    found = paged(lambda cursor: store.subjects.list("staff", 5, cursor), lambda subject: subject.id)
    assert sorted(found) == sorted(NAMES)


def test_update_subject_changes_what_is_given(store: Store) -> None:
    created = store.subjects.create("staff", NewSubject("ada", None, {"born": 1815}))
    named = store.subjects.update("staff", "ada", SubjectChange(display_name="Ada"))
    assert named == replace(created, display_name="Ada", updated_at=named.updated_at)
    assert named.updated_at > created.updated_at
    changed = store.subjects.update("staff", "ada", SubjectChange(metadata={}))
    assert (changed.display_name, changed.metadata) == ("Ada", {})
    assert store.subjects.get("staff", "ada") == changed


def test_deleted_subject_takes_its_rows_and_no_others(store: Store) -> None:
    store.galleries.update("staff", GalleryChange(keep_photographs=True))
    for name in ("ada", "bob"):
        store.references.add("staff", name, [new_reference(1, photograph=JPEG), new_reference(2, photograph=JPEG)])
    store.subjects.delete("staff", "ada")
    with pytest.raises(SubjectNotFound, match="no subject 'ada' in gallery 'staff'"):
        store.subjects.get("staff", "ada")
    assert (rows(store, SubjectRow), rows(store, ReferenceRow), rows(store, PhotographRow)) == (1, 2, 2)
    assert counts(store) == (3, 1, 2)
    assert store.subjects.get("staff", "bob").references == 2


def test_deleting_many_references_takes_few_statements(store: Store) -> None:
    store.references.add("staff", "ada", [new_reference(i) for i in range(3_000)])
    statements: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    store.subjects.delete("staff", "ada")
    executed = [s for s in statements if not s.startswith(("BEGIN", "PRAGMA", "SELECT set_config"))]
    assert len(executed) == 7  # lock, find, tell which, count both, log, delete
    assert counts(store) == (2, 0, 0)
    assert (rows(store, ReferenceRow), rows(store, RevisionRow)) == (0, 6_000)
