"""Subjects of core.ports.ReferenceStore, by values, on every database."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from facesvc.core.types import GalleryChange, NewGallery, NewSubject, Subject, SubjectChange
from facesvc.errors import (
    SubjectExists,
    SubjectNotFound,
)
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.tables import PhotographRow, ReferenceRow, RevisionRow, SubjectRow
from tests.contract.values import JPEG, NAMES, counts, paged, rows
from tests.support.databases import VERSION, new_reference


def test_subject_as_created(store: SqlReferenceStore) -> None:
    before = datetime.now(UTC)
    created = store.create_subject("staff", NewSubject("ada", "Ada Lovelace", {"born": 1815}))
    assert before <= created.created_at <= datetime.now(UTC)
    assert created == Subject("ada", "staff", "Ada Lovelace", {"born": 1815}, 0, created.created_at, created.created_at)
    assert store.subject("staff", "ada") == created
    assert counts(store) == (1, 1, 0)


def test_subject_ids_are_unique_in_their_gallery(store: SqlReferenceStore) -> None:
    store.create_gallery(NewGallery("guests"), VERSION)
    store.create_subject("staff", NewSubject("ada", "Ada"))
    with pytest.raises(SubjectExists, match="subject 'ada' exists already in 'staff'"):
        store.create_subject("staff", NewSubject("ada", "Another"))
    assert store.subject("staff", "ada").display_name == "Ada"
    assert store.create_subject("guests", NewSubject("ada", "Another")).display_name == "Another"
    assert counts(store) == (1, 1, 0)


def test_subjects_in_pages(store: SqlReferenceStore) -> None:
    for name in NAMES:
        store.create_subject("staff", NewSubject(name))
    found = paged(lambda cursor: store.subjects("staff", 5, cursor), lambda subject: subject.id)
    assert sorted(found) == sorted(NAMES)


def test_update_subject_changes_what_is_given(store: SqlReferenceStore) -> None:
    created = store.create_subject("staff", NewSubject("ada", None, {"born": 1815}))
    named = store.update_subject("staff", "ada", SubjectChange(display_name="Ada"))
    assert named == replace(created, display_name="Ada", updated_at=named.updated_at)
    assert named.updated_at > created.updated_at
    changed = store.update_subject("staff", "ada", SubjectChange(metadata={}))
    assert (changed.display_name, changed.metadata) == ("Ada", {})
    assert store.subject("staff", "ada") == changed


def test_deleted_subject_takes_its_rows_and_no_others(store: SqlReferenceStore) -> None:
    store.update_gallery("staff", GalleryChange(keep_photographs=True))
    for name in ("ada", "bob"):
        store.add_references("staff", name, [new_reference(1, photograph=JPEG), new_reference(2, photograph=JPEG)])
    store.delete_subject("staff", "ada")
    with pytest.raises(SubjectNotFound, match="no subject 'ada' in gallery 'staff'"):
        store.subject("staff", "ada")
    assert (rows(store, SubjectRow), rows(store, ReferenceRow), rows(store, PhotographRow)) == (1, 2, 2)
    assert counts(store) == (3, 1, 2)
    assert store.subject("staff", "bob").references == 2


def test_deleting_many_references_takes_few_statements(store: SqlReferenceStore) -> None:
    store.add_references("staff", "ada", [new_reference(i) for i in range(3_000)])
    statements: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    store.delete_subject("staff", "ada")
    executed = [s for s in statements if not s.startswith(("BEGIN", "PRAGMA", "SELECT set_config"))]
    assert len(executed) == 7  # lock, find, tell which, count both, log, delete
    assert counts(store) == (2, 0, 0)
    assert (rows(store, ReferenceRow), rows(store, RevisionRow)) == (0, 6_000)
