"""API keys on every database: made once, told once, gone at once."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import text, update

from facesvc.apikeys import ApiKeys
from facesvc.core.access import Caller, Role
from facesvc.core.api_keys import Rights
from facesvc.core.keys import INSTALLATION
from facesvc.crypto.keyring import Keyring
from facesvc.crypto.master import MasterKey
from facesvc.errors import RequestError
from facesvc.refusals import ApiKeyNotFound, SealBroken, Unauthenticated
from facesvc.storage.api_keys import SqlApiKeys
from facesvc.storage.engine import open_engine
from facesvc.storage.keys import SqlKeyRows
from facesvc.storage.locks import Locks
from facesvc.storage.tables import ApiKeyRow
from facesvc.storage.transactions import EVERY_TENANT

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
    secret = issued.text.rsplit("_", 1)[1]
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


def test_a_key_expires(keys: ApiKeys, locks: Locks) -> None:
    issued = keys.issue("a", ENROL, lifetime=MINUTE)
    assert keys.authenticate(issued.text).expires_at == issued.key.expires_at
    execute(locks, update(ApiKeyRow).values(expires_at=datetime.now(UTC)))
    with pytest.raises(Unauthenticated):
        keys.authenticate(issued.text)


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
    execute(locks, update(ApiKeyRow).where(ApiKeyRow.id == strong.key.id).values(tenant="b"))
    with pytest.raises(SealBroken):
        keys.authenticate(strong.text)


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
