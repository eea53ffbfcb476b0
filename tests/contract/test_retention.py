"""Subjects that may be kept for a time: they stop answering at that moment, deleted or not."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from facesvc.core.erasure import Deleted
from facesvc.core.types import NewSubject, Reference, Retention, SubjectChange
from facesvc.errors import SubjectExists, SubjectNotFound
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.store import Store
from facesvc.storage.tables import SubjectRow
from tests.contract.values import counts
from tests.support.databases import new_reference
from tests.support.galleryfiles import entry

PAST, FUTURE = (datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) for days in (-1, 1))


def enrolled(store: Store, subject: str, expires_at: datetime | None) -> Reference:
    (reference,) = store.references.add("staff", subject, [new_reference(len(subject))])
    store.subjects.update("staff", subject, SubjectChange(retention=Retention("form 7", expires_at)))
    return reference


def test_consent_and_expiry_are_kept(store: Store) -> None:
    made = store.subjects.create("staff", NewSubject("ada", "Ada", {}, Retention("form 7", FUTURE)))
    assert (made.consent, made.expires_at) == ("form 7", FUTURE)
    assert store.subjects.get("staff", "ada") == made
    later = FUTURE + timedelta(days=30)
    changed = store.subjects.update("staff", "ada", SubjectChange(retention=Retention(expires_at=later)))
    assert (changed.consent, changed.expires_at, changed.display_name) == ("form 7", later, "Ada")


def test_who_has_expired_answers_nothing(store: Store) -> None:
    gone, there = enrolled(store, "ada", PAST), enrolled(store, "charles", FUTURE)
    gallery = store.galleries.get("staff")
    assert [found.id for found in store.references.by_key(gallery, [gone.key, there.key])] == [there.id]
    assert [subject.id for subject in store.subjects.list("staff", 9).items] == ["charles"]
    for ask in (
        lambda: store.subjects.get("staff", "ada"),
        lambda: store.references.list("staff", "ada", 9),
        lambda: store.references.photograph("staff", "ada", gone.id),
        lambda: store.subjects.update("staff", "ada", SubjectChange(retention=Retention(expires_at=FUTURE))),
    ):
        with pytest.raises(SubjectNotFound):
            ask()


def test_who_has_expired_is_deleted_with_everything(store: Store) -> None:
    gone, _ = enrolled(store, "ada", PAST), enrolled(store, "charles", FUTURE)
    (expired,) = store.subjects.expired(9)
    assert (expired.gallery, expired.subject) == ("staff", "ada")
    assert store.subjects.find_expired("staff", "ada") == expired
    assert store.subjects.find_expired("staff", "charles") is None
    assert store.subjects.delete_expired(expired.key) == [Deleted(gone.key, gone.id, had_photograph=False)]
    assert (store.subjects.expired(9), counts(store)[1:]) == ([], (1, 1))
    with pytest.raises(SubjectNotFound):
        store.subjects.delete_expired(expired.key)
    assert store.revisions.changes(store.galleries.get("staff"), 1).removed.tolist() == [gone.key]


def test_who_has_not_expired_is_not_deleted_as_such(store: Store) -> None:
    enrolled(store, "ada", FUTURE)
    with store.rows.reading() as session:
        (key,) = session.scalars(select(SubjectRow.key))
    with pytest.raises(SubjectNotFound):
        store.subjects.delete_expired(key)
    assert counts(store)[1:] == (1, 1)


def test_an_id_is_taken_until_who_has_expired_is_deleted(store: Store) -> None:
    """Who takes the place has to say so in the audit log first: see ``facesvc.service.subjects``."""
    enrolled(store, "ada", PAST)
    with pytest.raises(SubjectExists):
        store.references.add("staff", "ada", [new_reference(40)])
    with pytest.raises(SubjectExists):
        store.subjects.create("staff", NewSubject("ada", "Another"))
    store.subjects.delete_expired(store.subjects.expired(1)[0].key)
    (again,) = store.references.add("staff", "ada", [new_reference(40)])
    assert [reference.id for reference in store.references.list("staff", "ada", 9).items] == [again.id]


def test_nothing_is_imported_into_who_has_expired(store: Store) -> None:
    enrolled(store, "ada", PAST)
    before = counts(store)
    with pytest.raises(SubjectExists, match="'ada' has expired, and is still to be erased"):
        SqlExchange(store.engine, store.tenant, store.codec).add("staff", [entry(1, "ada"), entry(2, "bob")])
    assert counts(store) == before
