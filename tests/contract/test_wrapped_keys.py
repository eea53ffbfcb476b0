"""Wrapped keys are all of one master key, whoever replaces it beside what; and nobody makes a new root secret where one
was taken away: on SQLite and PostgreSQL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import Engine, text

from facesvc.bootstrap.database import Database
from facesvc.core.access import Rights, Role
from facesvc.core.types import NewGallery
from facesvc.crypto.keyring import INSTALLATION, Wrapped, rewrap
from facesvc.crypto.master import MasterKey
from facesvc.errors import MasterKeyUnavailable, SealBroken, TenantNotFound, Unauthenticated
from facesvc.storage.engine import WRITING
from facesvc.storage.keys import SqlKeyRows, rewrap_all
from facesvc.storage.transactions import EVERY_TENANT, Transactions
from tests.support.databases import MASTER, VERSION, new_reference, process

OLD, NEW = MASTER, MasterKey(bytes(range(32)))
TAKEN = "was taken away"


def started(engine: Engine) -> Database:
    """As every process that starts: it looks whether it has the right master key."""
    database = process(engine)
    database.keyring.require_master()
    return database


def enrolled(engine: Engine) -> Database:
    """A process that has opened its keys, over a gallery with one subject."""
    database = process(engine)
    store = database.store("default")
    store.galleries.create(NewGallery("staff"), VERSION)
    store.references.add("staff", "ada", [new_reference(1)])
    return database


def change(engine: Engine, *statements: str) -> None:
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def rotate_data(database: Database) -> None:
    list(database.encryption("default").rotate_data_key())


def create(database: Database) -> None:
    database.register.create("acme")


WRITERS = (rotate_data, create)
"""All who write wrapped keys, but for the replacement of the master key."""


def require_whole(engine: Engine, master: MasterKey) -> None:
    """Everything opens with this master key, for a process that has opened nothing yet."""
    after = process(engine, master)
    for tenant in after.register.ids():
        assert after.audit(tenant).verify() >= 0
    assert [found.id for found in after.store("default").references.list("staff", "ada", 5).items] != []
    rotate_data(after)
    assert process(engine, master).store("default").subjects.get("staff", "ada").references == 1


@pytest.mark.parametrize("write", WRITERS)
def test_nothing_is_wrapped_by_a_master_key_that_was_replaced(
    engine: Engine, write: Callable[[Database], None]
) -> None:
    running = enrolled(engine)
    assert running.register.ids() == ["default"]
    process(engine).rotate_master(NEW)
    with pytest.raises(MasterKeyUnavailable, match="it is the wrong one, or was rotated"):
        write(running)
    assert process(engine, NEW).register.ids() == ["default"]
    require_whole(engine, NEW)


@pytest.mark.parametrize("write", WRITERS)
def test_nor_by_one_that_is_being_replaced(engine: Engine, write: Callable[[Database], None]) -> None:
    """Who comes while all is wrapped anew waits, and then finds out."""
    running, begun = enrolled(engine), Event()
    assert running.register.ids() == ["default"]

    def late() -> None:
        begun.set()
        write(running)

    def slowly(tenant: str, wrapped: Wrapped) -> Wrapped:
        if tenant == INSTALLATION:
            waiting.append(pool.submit(late))
            assert begun.wait(60)
        return rewrap(OLD, NEW, tenant, wrapped)

    waiting = []
    with ThreadPoolExecutor(1) as pool:
        assert rewrap_all(Transactions(engine, EVERY_TENANT), slowly) == 2
        with pytest.raises(MasterKeyUnavailable):
            waiting[0].result(60)
    require_whole(engine, NEW)


def test_who_replaces_the_master_key_waits_for_keys_that_are_being_made(engine: Engine) -> None:
    running, other, begun = enrolled(engine), process(engine), Event()

    def replaced() -> int:
        begun.set()
        return other.rotate_master(NEW)

    def slowly(wrapped: Wrapped) -> Wrapped:
        waiting.append(pool.submit(replaced))
        assert begun.wait(60)
        return running.keyring.maker.with_data_key("default", wrapped)

    waiting = []
    with ThreadPoolExecutor(1) as pool:
        assert other.register.ids() == ["default"]
        SqlKeyRows(engine, "default").change(running.keyring.maker, slowly)
        assert waiting[0].result(60) == 2
    assert process(engine, NEW).encryption("default").data_keys() == {1: 2, 2: 0}
    require_whole(engine, NEW)


def test_of_two_master_keys_at_once_one_takes_over(engine: Engine) -> None:
    enrolled(engine)
    others = [MasterKey(bytes([n] * 32)) for n in (1, 2)]

    def rotated(new: MasterKey) -> bool:
        try:
            return process(engine).rotate_master(new) == 2
        except MasterKeyUnavailable:
            return False

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(rotated, others))
    assert sorted(done) == [False, True]
    require_whole(engine, others[done.index(True)])


def test_processes_that_start_at_once_make_one_set_of_keys(engine: Engine) -> None:
    processes = [process(engine) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        derived = set(pool.map(lambda one: one.keyring.tenant("default").derive("test"), processes))
    assert len(derived) == 1
    assert len({one.keyring.derive("test") for one in processes}) == 1


OF_DEFAULT = "WHERE tenant = 'default'"
TAKINGS = {
    "a tenant's root": [f"DELETE FROM tenants {OF_DEFAULT}"],
    "all of its keys and lines": [f"DELETE FROM {table} {OF_DEFAULT}" for table in ("tenants", "data_keys", "audit")],
    "all that is its": [
        f"DELETE FROM {table} {OF_DEFAULT}" for table in ("tenants", "data_keys", "audit", "galleries", "api_keys")
    ],
    "the installation's root": [f"DELETE FROM tenants WHERE tenant = '{INSTALLATION}'"],
    "all roots": ["DELETE FROM tenants"],
    "all roots, data keys and lines": ["DELETE FROM tenants", "DELETE FROM data_keys", "DELETE FROM audit"],
    "all but the API keys": [f"DELETE FROM {table}" for table in ("tenants", "data_keys", "audit", "galleries")],
    "all but the sealed galleries": [f"DELETE FROM {table}" for table in ("tenants", "data_keys", "audit", "api_keys")],
}


@pytest.mark.parametrize("what", TAKINGS)
def test_no_root_is_made_where_one_was_taken_away(engine: Engine, what: str) -> None:
    """Else a new, empty tenant would hide that the right keys are gone."""
    enrolled(engine).tenant_api_keys("default").issue(Rights(frozenset({Role.VERIFY})), None)
    change(engine, *TAKINGS[what])
    with pytest.raises(SealBroken, match=TAKEN):
        started(engine).store("default")
    with pytest.raises(SealBroken, match=TAKEN):  # nor by the next that comes
        started(engine).store("default")


def test_who_removes_everything_has_a_new_installation_that_knows_no_api_key(engine: Engine) -> None:
    """What remains: it is empty, and callers notice."""
    issued = enrolled(engine).tenant_api_keys("default").issue(Rights(frozenset({Role.VERIFY})), None)
    for table in ("tenants", "data_keys", "audit", "galleries", "api_keys"):
        change(engine, f"DELETE FROM {table}")
    anew = started(engine)
    assert anew.store("default").galleries.list(10).items == ()
    with pytest.raises(Unauthenticated):
        anew.api_keys.authenticate(issued.text)


def test_galleries_without_any_key_are_not_believed(engine: Engine) -> None:
    """Somebody who may write the database brings rows of another installation."""
    enrolled(engine)
    for table in ("tenants", "data_keys", "audit", "api_keys"):
        change(engine, f"DELETE FROM {table}")
    with pytest.raises(SealBroken, match=TAKEN):
        started(engine)


def test_an_unknown_tenant_gets_no_keys(engine: Engine) -> None:
    enrolled(engine)
    with pytest.raises(TenantNotFound):
        process(engine).store("t-0123456789abcdef")
