"""API keys on every database: made once, told once, gone at once."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import text, update

from facesvc.core.access import Caller, Rights, Role
from facesvc.crypto.keyring import INSTALLATION, Keyring
from facesvc.crypto.master import MasterKey
from facesvc.errors import ApiKeyNotFound, RequestError, SealBroken, Unauthenticated
from facesvc.service.api_keys import ApiKeys
from facesvc.storage.access import SqlApiKeys
from facesvc.storage.engine import open_engine
from facesvc.storage.keys import SqlKeyRows
from facesvc.storage.tables import ApiKeyRow
from facesvc.storage.transactions import EVERY_TENANT, Locks

ENROL = Rights(frozenset({Role.ENROL, Role.VERIFY}), frozenset({"staff", "visitors"}), "gate 3", 50, 600)
MINUTE = timedelta(minutes=1)


def api_keys(locks: Locks) -> ApiKeys:
    rows = partial(SqlKeyRows, locks.engine)
    return ApiKeys(SqlApiKeys(locks), Keyring(MasterKey(bytes(range(32))), rows).tenant(INSTALLATION))


@pytest.fixture
def locks(url: str) -> Iterator[Locks]:
    engine = open_engine(url)
    yield Locks(engine, EVERY_TENANT)
    engine.dispose()


@pytest.fixture
def keys(locks: Locks) -> ApiKeys:
    return api_keys(locks)


def execute(locks: Locks, statement: object) -> None:
    with locks.writing() as session:
        session.execute(statement)  # type: ignore[call-overload]


def test_a_key_tells_who_comes_with_it(keys: ApiKeys) -> None:
    issued = keys.issue("a", ENROL)
    assert re.fullmatch(rf"facesvc_{issued.key.id}_[A-Za-z0-9_-]{{43}}", issued.text)
    found = keys.authenticate(issued.text)
    assert found == issued.key
    assert found.rights == ENROL
    assert found.caller == Caller("a", issued.key.id, ENROL.roles, frozenset({"staff", "visitors"}), 600, 50)


def test_nothing_of_a_key_is_stored_in_the_clear(keys: ApiKeys, locks: Locks) -> None:
    issued = keys.issue("a", ENROL)
    with locks.reading() as session:
        row = dict(session.execute(text("SELECT * FROM api_keys")).mappings().one())
    stored = repr({name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()})
    secret = issued.text[-43:]
    assert [word for word in (secret, "gate 3", "staff", "enrol") if word in stored] == []
    assert "secret" not in repr(issued)
    assert secret not in repr(issued)


def test_unknown_and_wrong_keys_are_refused_alike(keys: ApiKeys) -> None:
    issued = keys.issue("a", ENROL)
    body, last = issued.text[:-1], issued.text[-1]
    wrong = [
        f"{body}{'A' if last != 'A' else 'B'}",
        issued.text.replace(issued.key.id, "0" * 12),
        issued.text.upper(),
        issued.text + " ",
        issued.key.id,
        "",
    ]
    said = set()
    for text_ in wrong:
        with pytest.raises(Unauthenticated) as refused:
            keys.authenticate(text_)
        said.add(refused.value.detail)
    assert said == {"the API key is not valid: unknown, expired or revoked"}


def test_revocation_works_at_once_for_another_process(keys: ApiKeys, url: str) -> None:
    elsewhere = open_engine(url)
    other = api_keys(Locks(elsewhere, EVERY_TENANT))
    issued = keys.issue("a", ENROL)
    assert other.authenticate(issued.text) == issued.key
    revoked = keys.revoke("a", issued.key.id)
    with pytest.raises(Unauthenticated):
        other.authenticate(issued.text)
    assert other.revoke("a", issued.key.id).revoked_at == revoked.revoked_at
    elsewhere.dispose()


def test_a_key_expires(keys: ApiKeys) -> None:
    issued = keys.issue("a", ENROL, lifetime=timedelta(microseconds=1))
    with pytest.raises(Unauthenticated):
        keys.authenticate(issued.text)
    assert keys.find("a", issued.key.id) == issued.key
    later = keys.issue("a", ENROL, lifetime=MINUTE)
    assert keys.authenticate(later.text).expires_at == later.key.created_at + MINUTE


def test_rotation_overlaps(keys: ApiKeys) -> None:
    old = keys.issue("a", ENROL)
    new = keys.rotate("a", old.key.id, MINUTE)
    assert keys.authenticate(new.text).rights == ENROL
    outgoing = keys.authenticate(old.text)
    assert outgoing.replaced_by == new.key.id
    assert outgoing.expires_at is not None
    assert timedelta(0) < outgoing.expires_at - datetime.now(UTC) <= MINUTE
    with pytest.raises(ApiKeyNotFound):
        keys.rotate("a", old.key.id, MINUTE)


def test_rotation_without_overlap_ends_the_old_key(keys: ApiKeys) -> None:
    old = keys.issue("a", ENROL)
    new = keys.rotate("a", old.key.id, timedelta(0))
    assert keys.authenticate(new.text).id == new.key.id
    with pytest.raises(Unauthenticated):
        keys.authenticate(old.text)


def test_rotation_never_prolongs_a_key(keys: ApiKeys) -> None:
    old = keys.issue("a", ENROL, lifetime=MINUTE)
    keys.rotate("a", old.key.id, timedelta(days=30))
    assert keys.authenticate(old.text).expires_at == old.key.expires_at


def test_another_tenants_keys_are_not_there(keys: ApiKeys) -> None:
    issued = keys.issue("a", ENROL)
    assert [key.id for key in keys.of_tenant("a")] == [issued.key.id]
    assert keys.of_tenant("b") == []
    for ask in (keys.revoke, keys.find, lambda *at: keys.rotate(*at, MINUTE)):
        with pytest.raises(ApiKeyNotFound):
            ask("b", issued.key.id)
    assert keys.authenticate(issued.text) == issued.key


def test_rights_that_are_written_into_the_database_are_refused(keys: ApiKeys, locks: Locks) -> None:
    """Whoever can write rows, but has no key of the service's, makes nobody an administrator."""
    weak = keys.issue("a", Rights(frozenset({Role.VERIFY})))
    strong = keys.issue("a", Rights(frozenset({Role.ADMINISTER})))
    with locks.reading() as session:
        sealed = session.get_one(ApiKeyRow, strong.key.id).sealed
    execute(locks, update(ApiKeyRow).where(ApiKeyRow.id == weak.key.id).values(sealed=sealed))
    with pytest.raises(SealBroken):
        keys.authenticate(weak.text)


def test_nobody_gives_his_secret_to_another_key(keys: ApiKeys, locks: Locks) -> None:
    """He has a key, copies its digest to an administrator's, and comes as that one with his own secret."""
    mine = keys.issue("a", Rights(frozenset({Role.VERIFY})))
    strong = keys.issue("b", Rights(frozenset({Role.ADMINISTER})))
    with locks.reading() as session:
        digest = session.get_one(ApiKeyRow, mine.key.id).digest
    execute(locks, update(ApiKeyRow).where(ApiKeyRow.id == strong.key.id).values(digest=digest))
    with pytest.raises(Unauthenticated):
        keys.authenticate(f"facesvc_{strong.key.id}_{mine.text[-43:]}")
    with pytest.raises(Unauthenticated):
        keys.authenticate(mine.text.replace(mine.key.id, strong.key.id))


def test_nobody_gives_a_key_to_another_tenant(keys: ApiKeys, locks: Locks) -> None:
    issued = keys.issue("a", Rights(frozenset({Role.ADMINISTER})))
    execute(locks, update(ApiKeyRow).values(tenant="b"))
    with pytest.raises(Unauthenticated):
        keys.authenticate(issued.text)
    with pytest.raises(SealBroken):
        keys.of_tenant("b")


def test_nothing_that_ends_or_bounds_a_key_is_in_a_column_of_its_own(keys: ApiKeys, locks: Locks) -> None:
    """Whoever can write rows takes back no revocation, moves no expiry, raises no limit."""
    issued = keys.issue("a", replace(ENROL, label=""), MINUTE)
    keys.revoke("a", issued.key.id)
    with locks.reading() as session:
        columns = set(session.execute(text("SELECT * FROM api_keys")).mappings().one())
    assert columns == {"tenant", "id", "digest", "sealed", "created_at"}
    with locks.reading() as session:
        sealed = bytearray(session.get_one(ApiKeyRow, issued.key.id).sealed)
    sealed[-20] ^= 1
    execute(locks, update(ApiKeyRow).values(sealed=bytes(sealed), created_at=datetime.now(UTC)))
    with pytest.raises(SealBroken):
        keys.authenticate(issued.text)


def test_one_of_those_who_replace_a_key_at_once_does(keys: ApiKeys, url: str) -> None:
    elsewhere = open_engine(url)
    other = api_keys(Locks(elsewhere, EVERY_TENANT))
    old = keys.issue("a", ENROL)

    def rotated(mine: ApiKeys) -> str | None:
        try:
            return mine.rotate("a", old.key.id, MINUTE).key.id
        except ApiKeyNotFound:
            return None

    with ThreadPoolExecutor(4) as pool:
        made = [found for found in pool.map(rotated, (keys, other, keys, other)) if found]
    assert [keys.find("a", old.key.id).replaced_by] == made
    assert {key.id for key in keys.of_tenant("a")} == {old.key.id, *made}
    elsewhere.dispose()


def test_a_key_that_is_replaced_can_be_revoked(keys: ApiKeys) -> None:
    old = keys.issue("a", ENROL)
    new = keys.rotate("a", old.key.id, MINUTE)
    revoked = keys.revoke("a", old.key.id)
    assert (revoked.replaced_by, revoked.rights, revoked.is_valid(datetime.now(UTC))) == (new.key.id, ENROL, False)
    with pytest.raises(ApiKeyNotFound, match="is not valid any more"):
        keys.rotate("a", old.key.id, MINUTE)


def test_the_first_key_is_made_once(keys: ApiKeys) -> None:
    first = keys.issue_first("default")
    assert first is not None
    assert first.key.expires_at == first.key.created_at + timedelta(days=1)
    assert keys.authenticate(first.text).rights.roles == {Role.ADMINISTER}
    assert keys.issue_first("default") is None
    assert len(keys.of_tenant("default")) == 1


def test_rights_that_make_no_sense() -> None:
    verify = frozenset({Role.VERIFY})
    for wrong in (
        {"roles": frozenset()},
        {"roles": verify, "galleries": frozenset()},
        {"roles": frozenset({Role.ADMINISTER}), "galleries": frozenset({"staff"})},
        {"roles": verify, "label": "x" * 129},
        {"roles": verify, "label": "two\nlines"},
    ):
        with pytest.raises(RequestError):
            Rights(**wrong)  # type: ignore[arg-type]


def test_lifetimes_and_overlaps_that_make_no_sense(keys: ApiKeys) -> None:
    with pytest.raises(RequestError):
        keys.issue("a", ENROL, lifetime=timedelta(0))
    issued = keys.issue("a", ENROL)
    with pytest.raises(RequestError):
        keys.rotate("a", issued.key.id, -MINUTE)
