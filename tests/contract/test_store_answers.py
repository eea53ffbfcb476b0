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
from facesvc.storage.sealing import text_token
from facesvc.storage.store import Store
from facesvc.storage.tables import AnswerRow
from tests.contract.values import counts, rows
from tests.support.databases import VERSION, new_reference, new_tenant


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


TICKET = Ticket(digest("key"), digest("request"))
OTHER = Ticket(digest("another key"), digest("request"))


def ids(references: Sequence[Reference]) -> bytes:
    return " ".join(reference.id for reference in references).encode()


def enrol(store: Store, ticket: Ticket, *seeds: int, subject: str = "ada") -> bytes:
    assert store.answers.claim(ticket) is None
    new = [new_reference(seed) for seed in seeds]
    return ids(store.references.add("staff", subject, new, Receipt(ticket, ids)))


def expire(store: Store, ticket: Ticket) -> None:
    """Time goes by, for this row."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with store.engine.execution_options(**{WRITING: True}).begin() as connection:
        key = text_token(store.codec, "idempotency key", ticket.key)
        connection.execute(update(AnswerRow).where(AnswerRow.key == key).values(expires_at=long_ago))


def test_the_answer_is_given_again_to_the_same_request(store: Store, other: Store) -> None:
    answer = enrol(store, TICKET, 1, 2)
    assert store.answers.claim(TICKET) == answer
    assert other.answers.claim(TICKET) == answer  # another process
    assert ids(store.references.list("staff", "ada", 10).items) == answer
    assert counts(store) == (1, 1, 2)


def test_a_request_in_work_is_nobody_elses(store: Store, other: Store) -> None:
    assert store.answers.claim(TICKET) is None
    with pytest.raises(IdempotencyKeyInUse):
        other.answers.claim(TICKET)
    assert other.answers.claim(OTHER) is None


def test_another_request_is_refused_before_and_after_the_answer(store: Store) -> None:
    another = replace(TICKET, request=digest("another request"))
    assert store.answers.claim(TICKET) is None
    with pytest.raises(IdempotencyKeyReused):
        store.answers.claim(another)
    store.references.add("staff", "ada", [new_reference(1)], Receipt(TICKET, ids))
    with pytest.raises(IdempotencyKeyReused):
        store.answers.claim(another)


def test_a_request_that_failed_can_be_tried_again(store: Store) -> None:
    assert store.answers.claim(TICKET) is None
    with pytest.raises(GalleryNotFound):
        store.references.add("nowhere", "ada", [new_reference(1)], Receipt(TICKET, ids))
    store.answers.release(TICKET)
    assert rows(store, AnswerRow) == 0
    assert enrol(store, TICKET, 1) == ids(store.references.list("staff", "ada", 10).items)


def test_releasing_takes_back_no_answer(store: Store) -> None:
    answer = enrol(store, TICKET, 1)
    store.answers.release(TICKET)
    assert store.answers.claim(TICKET) == answer


def test_references_and_answer_are_one_transaction(store: Store) -> None:
    def fail(references: Sequence[Reference]) -> bytes:
        raise ValueError("no answer")

    assert store.answers.claim(TICKET) is None
    with pytest.raises(ValueError, match="no answer"):
        store.references.add("staff", "ada", [new_reference(1)], Receipt(TICKET, fail))
    assert counts(store) == (0, 0, 0)


def test_a_claim_lapses_and_the_slower_request_stores_nothing(store: Store, other: Store) -> None:
    assert store.answers.claim(TICKET) is None  # and is killed, or slow
    expire(store, TICKET)
    answer = enrol(other, TICKET, 1)
    with pytest.raises(IdempotencyKeyInUse):
        store.references.add("staff", "ada", [new_reference(1), new_reference(2)], Receipt(TICKET, ids))
    assert counts(store) == (1, 1, 1)
    assert store.answers.claim(TICKET) == answer


def test_a_slow_request_whose_claim_was_purged_keeps_its_answer(store: Store) -> None:
    assert store.answers.claim(TICKET) is None
    expire(store, TICKET)
    enrol(store, OTHER, 9)
    assert rows(store, AnswerRow) == 1
    answer = ids(store.references.add("staff", "ada", [new_reference(1)], Receipt(TICKET, ids)))
    assert store.answers.claim(TICKET) == answer


def test_answers_are_forgotten_after_a_day(store: Store) -> None:
    enrol(store, TICKET, 1)
    enrol(store, OTHER, 2)
    expire(store, TICKET)
    assert store.answers.claim(replace(OTHER, key=digest("a third"))) is None
    assert rows(store, AnswerRow) == 2  # the expired one went with that write
    assert store.answers.claim(TICKET) is None


def refused(store: Store, subject: str) -> None:
    """An enrolment whose photographs are all refused."""
    assert store.answers.claim(TICKET) is None
    assert store.references.add("staff", subject, [], Receipt(TICKET, lambda _: b"refused")) == []


def test_nothing_enrolled_is_an_answer_too(store: Store) -> None:
    """It tells of the subject as any other does, and goes with it."""
    store.subjects.create("staff", NewSubject("ada"))
    refused(store, "ada")
    assert store.answers.claim(TICKET) == b"refused"
    assert counts(store) == (1, 1, 0)
    store.erasures.begin("staff", "ada")
    assert rows(store, AnswerRow) == 0


def test_nothing_enrolled_of_nobody_leaves_no_answer(store: Store) -> None:
    """No row tells of a subject that is not there; done again, it changes as little."""
    refused(store, "eve")
    assert rows(store, AnswerRow) == 0
    refused(store, "eve")
    assert counts(store) == (0, 0, 0)


def test_lapsed_answers_go_without_another_request(store: Store) -> None:
    enrol(store, TICKET, 1)
    enrol(store, OTHER, 2)
    store.answers.forget_lapsed()
    assert rows(store, AnswerRow) == 2
    expire(store, TICKET)
    store.answers.forget_lapsed()
    assert rows(store, AnswerRow) == 1
    assert store.answers.claim(OTHER) is not None


@pytest.mark.parametrize("erased", ["reference", "subject", "gallery"])
def test_what_is_deleted_is_in_no_answer(store: Store, erased: str) -> None:
    answer = enrol(store, TICKET, 1, 2).decode().split()
    kept = enrol(store, OTHER, 3, subject="bob")
    if erased == "reference":
        store.references.delete("staff", "ada", answer[0])
    elif erased == "subject":
        store.subjects.delete("staff", "ada")
    else:
        store.galleries.delete("staff")
    assert rows(store, AnswerRow) == (0 if erased == "gallery" else 1)
    if erased != "gallery":
        assert store.answers.claim(OTHER) == kept


def test_keys_of_tenants_are_their_own(store: Store) -> None:
    answer = enrol(store, TICKET, 1)
    theirs = new_tenant(store.engine, "acme")
    theirs.galleries.create(NewGallery("staff"), VERSION)
    assert theirs.answers.claim(TICKET) is None
    theirs.answers.release(TICKET)
    assert store.answers.claim(TICKET) == answer


def test_of_many_at_once_one_is_to_answer(store: Store) -> None:
    def claim(_: int) -> str:
        try:
            return "mine" if store.answers.claim(TICKET) is None else "answered"
        except IdempotencyKeyInUse:
            return "in use"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(claim, range(8))) == ["in use"] * 7 + ["mine"]
