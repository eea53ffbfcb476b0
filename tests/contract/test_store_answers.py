"""Idempotency keys: an enrolment's answer is kept with its references, given again, and forgotten in time."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from facesvc.core.types import NewGallery, NewSubject, Receipt, Reference, Ticket
from facesvc.errors import GalleryNotFound, IdempotencyKeyInUse, IdempotencyKeyReused
from facesvc.storage.engine import WRITING
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.sealing import text_token
from facesvc.storage.tables import AnswerRow
from tests.contract.values import counts, rows
from tests.support.databases import VERSION, new_reference, new_tenant


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


TICKET = Ticket(digest("key"), digest("request"))
OTHER = Ticket(digest("another key"), digest("request"))


def ids(references: Sequence[Reference]) -> bytes:
    return " ".join(reference.id for reference in references).encode()


def enrol(store: SqlReferenceStore, ticket: Ticket, *seeds: int, subject: str = "ada") -> bytes:
    assert store.claim(ticket) is None
    new = [new_reference(seed) for seed in seeds]
    return ids(store.add_references("staff", subject, new, Receipt(ticket, ids)))


def expire(store: SqlReferenceStore, ticket: Ticket) -> None:
    """Time goes by, for this row."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with store.engine.execution_options(**{WRITING: True}).begin() as connection:
        key = text_token(store.codec, "idempotency key", ticket.key)
        connection.execute(update(AnswerRow).where(AnswerRow.key == key).values(expires_at=long_ago))


def test_the_answer_is_given_again_to_the_same_request(store: SqlReferenceStore, other: SqlReferenceStore) -> None:
    answer = enrol(store, TICKET, 1, 2)
    assert store.claim(TICKET) == answer
    assert other.claim(TICKET) == answer  # another process
    assert ids(store.references("staff", "ada", 10).items) == answer
    assert counts(store) == (1, 1, 2)


def test_a_request_in_work_is_nobody_elses(store: SqlReferenceStore, other: SqlReferenceStore) -> None:
    assert store.claim(TICKET) is None
    with pytest.raises(IdempotencyKeyInUse):
        other.claim(TICKET)
    assert other.claim(OTHER) is None


def test_another_request_is_refused_before_and_after_the_answer(store: SqlReferenceStore) -> None:
    another = replace(TICKET, request=digest("another request"))
    assert store.claim(TICKET) is None
    with pytest.raises(IdempotencyKeyReused):
        store.claim(another)
    store.add_references("staff", "ada", [new_reference(1)], Receipt(TICKET, ids))
    with pytest.raises(IdempotencyKeyReused):
        store.claim(another)


def test_a_request_that_failed_can_be_tried_again(store: SqlReferenceStore) -> None:
    assert store.claim(TICKET) is None
    with pytest.raises(GalleryNotFound):
        store.add_references("nowhere", "ada", [new_reference(1)], Receipt(TICKET, ids))
    store.release(TICKET)
    assert rows(store, AnswerRow) == 0
    assert enrol(store, TICKET, 1) == ids(store.references("staff", "ada", 10).items)


def test_releasing_takes_back_no_answer(store: SqlReferenceStore) -> None:
    answer = enrol(store, TICKET, 1)
    store.release(TICKET)
    assert store.claim(TICKET) == answer


def test_references_and_answer_are_one_transaction(store: SqlReferenceStore) -> None:
    def fail(references: Sequence[Reference]) -> bytes:
        raise ValueError("no answer")

    assert store.claim(TICKET) is None
    with pytest.raises(ValueError, match="no answer"):
        store.add_references("staff", "ada", [new_reference(1)], Receipt(TICKET, fail))
    assert counts(store) == (0, 0, 0)


def test_a_claim_lapses_and_the_slower_request_stores_nothing(
    store: SqlReferenceStore, other: SqlReferenceStore
) -> None:
    assert store.claim(TICKET) is None  # and is killed, or slow
    expire(store, TICKET)
    answer = enrol(other, TICKET, 1)
    with pytest.raises(IdempotencyKeyInUse):
        store.add_references("staff", "ada", [new_reference(1), new_reference(2)], Receipt(TICKET, ids))
    assert counts(store) == (1, 1, 1)
    assert store.claim(TICKET) == answer


def test_a_slow_request_whose_claim_was_purged_keeps_its_answer(store: SqlReferenceStore) -> None:
    assert store.claim(TICKET) is None
    expire(store, TICKET)
    enrol(store, OTHER, 9)
    assert rows(store, AnswerRow) == 1
    answer = ids(store.add_references("staff", "ada", [new_reference(1)], Receipt(TICKET, ids)))
    assert store.claim(TICKET) == answer


def test_answers_are_forgotten_after_a_day(store: SqlReferenceStore) -> None:
    enrol(store, TICKET, 1)
    enrol(store, OTHER, 2)
    expire(store, TICKET)
    assert store.claim(replace(OTHER, key=digest("a third"))) is None
    assert rows(store, AnswerRow) == 2  # the expired one went with that write
    assert store.claim(TICKET) is None


def refused(store: SqlReferenceStore, subject: str) -> None:
    """An enrolment whose photographs are all refused."""
    assert store.claim(TICKET) is None
    assert store.add_references("staff", subject, [], Receipt(TICKET, lambda _: b"refused")) == []


def test_nothing_enrolled_is_an_answer_too(store: SqlReferenceStore) -> None:
    """It tells of the subject as any other does, and goes with it."""
    store.create_subject("staff", NewSubject("ada"))
    refused(store, "ada")
    assert store.claim(TICKET) == b"refused"
    assert counts(store) == (1, 1, 0)
    store.begin_erasure("staff", "ada")
    assert rows(store, AnswerRow) == 0


def test_nothing_enrolled_of_nobody_leaves_no_answer(store: SqlReferenceStore) -> None:
    """No row tells of a subject that is not there; done again, it changes as little."""
    refused(store, "eve")
    assert rows(store, AnswerRow) == 0
    refused(store, "eve")
    assert counts(store) == (0, 0, 0)


def test_lapsed_answers_go_without_another_request(store: SqlReferenceStore) -> None:
    enrol(store, TICKET, 1)
    enrol(store, OTHER, 2)
    store.forget_lapsed()
    assert rows(store, AnswerRow) == 2
    expire(store, TICKET)
    store.forget_lapsed()
    assert rows(store, AnswerRow) == 1
    assert store.claim(OTHER) is not None


@pytest.mark.parametrize("erased", ["reference", "subject", "gallery"])
def test_what_is_deleted_is_in_no_answer(store: SqlReferenceStore, erased: str) -> None:
    answer = enrol(store, TICKET, 1, 2).decode().split()
    kept = enrol(store, OTHER, 3, subject="bob")
    if erased == "reference":
        store.delete_reference("staff", "ada", answer[0])
    elif erased == "subject":
        store.delete_subject("staff", "ada")
    else:
        store.delete_gallery("staff")
    assert rows(store, AnswerRow) == (0 if erased == "gallery" else 1)
    if erased != "gallery":
        assert store.claim(OTHER) == kept


def test_keys_of_tenants_are_their_own(store: SqlReferenceStore) -> None:
    answer = enrol(store, TICKET, 1)
    theirs = new_tenant(store.engine, "acme")
    theirs.create_gallery(NewGallery("staff"), VERSION)
    assert theirs.claim(TICKET) is None
    theirs.release(TICKET)
    assert store.claim(TICKET) == answer


def test_of_many_at_once_one_is_to_answer(store: SqlReferenceStore) -> None:
    def claim(_: int) -> str:
        try:
            return "mine" if store.claim(TICKET) is None else "answered"
        except IdempotencyKeyInUse:
            return "in use"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(claim, range(8))) == ["in use"] * 7 + ["mine"]
