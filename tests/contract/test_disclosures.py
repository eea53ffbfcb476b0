"""How many subjects a key is told of in a day, on both databases; and canaries."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from facesvc.core.access import DEFAULT_TENANT
from facesvc.errors import IdentityBudgetSpent, SubjectNotFound
from facesvc.storage.disclosures import SqlDisclosures
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from facesvc.storage.tables import RevealedRow
from tests.support.databases import new_reference, new_tenant, open_codec

DAY = 20_000


@pytest.fixture
def disclosures(url: str) -> Iterator[SqlDisclosures]:
    engine = open_engine(url)
    yield SqlDisclosures(engine, DEFAULT_TENANT, open_codec(engine))
    engine.dispose()


def enrolled(store: Store, count: int) -> list[str]:
    """A reference of each of so many subjects."""
    return [store.references.add("staff", f"s{n}", [new_reference(n)])[0].id for n in range(count)]


def rows(disclosures: SqlDisclosures) -> int:
    with disclosures.reading() as session:
        return session.scalar(select(func.count()).select_from(RevealedRow)) or 0


def test_a_key_is_told_of_so_many_subjects_a_day(store: Store, disclosures: SqlDisclosures) -> None:
    references = enrolled(store, 5)
    disclosures.reveal(references[:3], "key", DAY, 4)
    disclosures.reveal(references[:3], "key", DAY, 4)  # of the same again
    with pytest.raises(IdentityBudgetSpent, match="may be told of 4 subjects a day") as refusal:
        disclosures.reveal(references[2:], "key", DAY, 4)
    assert refusal.value.retry_after >= 1
    assert rows(disclosures) == 3  # what was refused was not noted
    disclosures.reveal(references[3:4], "key", DAY, 4)
    disclosures.reveal(references[4:], "other", DAY, 4)
    disclosures.reveal(references[4:], "key", DAY + 1, 4)


def test_it_is_forgotten_after_a_day(store: Store, disclosures: SqlDisclosures) -> None:
    references = enrolled(store, 3)
    disclosures.reveal(references[:2], "key", DAY, 5)
    disclosures.reveal(references[:1], "key", DAY + 1, 5)
    assert rows(disclosures) == 3
    disclosures.reveal(references[2:], "key", DAY + 2, 5)
    assert rows(disclosures) == 2


def test_a_subject_takes_what_was_noted_of_it_along(store: Store, disclosures: SqlDisclosures) -> None:
    disclosures.reveal(enrolled(store, 2), "key", DAY, 5)
    store.subjects.delete("staff", "s0")
    assert rows(disclosures) == 1


def test_others_take_no_place_at_the_same_time(store: Store, disclosures: SqlDisclosures) -> None:
    references = enrolled(store, 12)

    def reveal(reference: str) -> bool:
        try:
            disclosures.reveal([reference], "key", DAY, 5)
        except IdentityBudgetSpent:
            return False
        return True

    with ThreadPoolExecutor(4) as callers:
        assert sum(callers.map(reveal, references)) == 5
    assert rows(disclosures) == 5


def test_references_of_another_tenant_are_nobodys(store: Store, disclosures: SqlDisclosures) -> None:
    references = enrolled(store, 2)
    store.subjects.mark_canary("staff", "s0", True)
    another = new_tenant(disclosures.engine, "another")
    stranger = SqlDisclosures(disclosures.engine, another.tenant, another.codec)
    stranger.reveal(references, "key", DAY, 1)
    assert rows(disclosures) == 0
    assert list(stranger.canaries(references)) == []


def test_canaries(store: Store, disclosures: SqlDisclosures) -> None:
    references = enrolled(store, 3)
    assert list(disclosures.canaries(references)) == []
    store.subjects.mark_canary("staff", "s1", True)
    assert list(disclosures.canaries(references)) == [references[1]]
    store.subjects.mark_canary("staff", "s1", False)
    assert list(disclosures.canaries(references)) == []
    with pytest.raises(SubjectNotFound):
        store.subjects.mark_canary("staff", "nobody", True)
