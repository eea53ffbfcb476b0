"""PostgreSQL itself keeps tenants apart: what a forgotten clause, or raw SQL, sees and writes."""

from collections.abc import Iterator
from functools import partial

import pytest
from alembic import command
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from facesvc.bootstrap.database import Database
from facesvc.core.access import Rights, Role
from facesvc.core.types import Added, NewGallery
from facesvc.crypto.keyring import INSTALLATION, Keyring
from facesvc.crypto.master import MasterKey
from facesvc.errors import StoreUnavailable
from facesvc.service.api_keys import ApiKeys
from facesvc.service.tenants import Register
from facesvc.storage.access import SqlApiKeys, SqlTenants
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.engine import TENANT, WRITING, open_engine
from facesvc.storage.keys import SqlKeyRows
from facesvc.storage.migrate import configured, upgrade
from facesvc.storage.tables import Table
from facesvc.storage.transactions import EVERY_TENANT, Locks, Transactions
from tests.support.databases import VERSION, make_keys, new_reference, new_tenant, open_store, postgresql_database
from tests.support.galleryfiles import entry, values

ROLE = "facesvc_restricted"
TABLES = sorted(Table.metadata.tables)
DENIED = "42501"
"""PostgreSQL's code of a row that a policy forbids."""


def execute(url: str, *statements: str) -> None:
    engine = open_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="module")
def restricted_url(postgresql_admin: str) -> Iterator[str]:
    """A migrated database that belongs to a role like the service's: its owner, and no superuser."""
    with postgresql_database(postgresql_admin, template="template1") as database:
        name = make_url(database).database
        execute(database, f"DROP ROLE IF EXISTS {ROLE}", f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOBYPASSRLS")
        execute(database, f"ALTER DATABASE {name} OWNER TO {ROLE}", f"GRANT ALL ON SCHEMA public TO {ROLE}")
        restricted = make_url(database).set(username=ROLE).render_as_string(hide_password=False)
        upgrade(restricted)
        yield restricted
        execute(database, f"REASSIGN OWNED BY {ROLE} TO postgres", f"DROP OWNED BY {ROLE}")
        execute(database, f"ALTER DATABASE {name} OWNER TO postgres", f"DROP ROLE {ROLE}")


@pytest.fixture(scope="module")
def engine(restricted_url: str) -> Iterator[Engine]:
    """With a gallery, a subject, a reference and an answer of each of two tenants."""
    engine = open_engine(restricted_url)
    make_keys(restricted_url)
    for tenant in ("a", "b"):
        store = new_tenant(engine, tenant)
        store.galleries.create(NewGallery("staff", True), VERSION)
        store.references.add("staff", "ada", [new_reference(1, photograph=b"photograph")])
    yield engine
    engine.dispose()


def counts(engine: Engine, **options: object) -> dict[str, int]:
    with engine.connect().execution_options(**options) as connection:
        return {table: connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in TABLES}


def test_every_table_is_secured(engine: Engine) -> None:
    query = text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity ORDER BY relname")
    with engine.connect() as connection:
        assert list(connection.scalars(query)) == TABLES


def test_a_query_without_its_clause_sees_one_tenant(engine: Engine) -> None:
    with Transactions(engine, "a").reading() as session:
        for table in ("galleries", "subjects", "face_references", "templates", "photographs", "revisions"):
            assert list(session.scalars(text(f"SELECT tenant FROM {table}"))) == ["a"], table


def test_a_transaction_that_names_nobody_sees_nothing(engine: Engine) -> None:
    assert set(counts(engine).values()) == {0}
    assert counts(engine, **{TENANT: "c"})["subjects"] == 0
    assert counts(engine, **{TENANT: EVERY_TENANT})["subjects"] == 2


def test_a_tenant_stays_named_for_its_transaction_alone(engine: Engine) -> None:
    with engine.connect() as connection:
        named = connection.execution_options(**{TENANT: "a"})
        assert named.scalar(text("SELECT count(*) FROM subjects")) == 1
        named.commit()
        raw = connection.connection.cursor()
        assert raw.execute("SELECT count(*) FROM subjects").fetchone() == (0,)


def test_rows_of_others_can_not_be_written(engine: Engine) -> None:
    writing = {TENANT: "a", WRITING: True}
    with engine.connect().execution_options(**writing) as connection:
        made = "INSERT INTO data_keys (tenant, version, wrapped, created_at) VALUES ('{}', 1, '', now())"
        with pytest.raises(ProgrammingError) as refused:
            connection.execute(text(made.format("b")))
        assert getattr(refused.value.orig, "sqlstate", None) == DENIED
        connection.rollback()
        with pytest.raises(ProgrammingError):
            connection.execute(text("UPDATE galleries SET tenant = 'b'"))
        connection.rollback()
        assert connection.execute(text("UPDATE galleries SET name = 'x' WHERE tenant = 'b'")).rowcount == 0
        assert connection.execute(text("DELETE FROM subjects WHERE tenant = 'b'")).rowcount == 0
        connection.rollback()
    with pytest.raises(StoreUnavailable), Transactions(engine, "a").writing() as session:
        session.execute(text(made.format("b")))


def test_the_service_works_so(engine: Engine) -> None:
    """Keys are found before their tenant is known, tenants are listed, and cascades reach their rows."""
    keyring = Keyring(MasterKey(bytes(32)), partial(SqlKeyRows, engine))
    secrets = keyring.tenant(INSTALLATION)
    register, keys = (
        Register(SqlTenants(engine, EVERY_TENANT), secrets, keyring.maker, Database(engine, keyring).trail("default")),
        ApiKeys(SqlApiKeys(Locks(engine, EVERY_TENANT)), secrets),
    )
    made = register.create("acme")
    issued = keys.issue(made.id, Rights(frozenset({Role.VERIFY})))
    assert keys.authenticate(issued.text).tenant == made.id
    store = open_store(engine, made.id)
    store.galleries.create(NewGallery("staff", True), VERSION)
    store.references.add("staff", "ada", [new_reference(2, photograph=b"photograph")])
    assert counts(engine, **{TENANT: made.id})["photographs"] == 1
    store.galleries.delete("staff")
    assert counts(engine, **{TENANT: made.id})["photographs"] == 0
    register.delete(made)
    assert set(counts(engine, **{TENANT: made.id}).values()) == {0}
    assert [tenant.name for tenant in register.tenants()] == ["default", "a", "b"]


def test_one_export_into_two_tenants(engine: Engine) -> None:
    """Others' ids, which the policies hide, are in nobody's way."""
    went = [entry(1), entry(2)]
    for tenant in ("c", "d"):
        store = new_tenant(engine, tenant)
        store.galleries.create(NewGallery("staff"), VERSION)
        exchange = SqlExchange(engine, tenant, store.codec)
        assert exchange.add("staff", went) == Added(subjects=1, references=2)
        assert values(exchange.entries("staff")) == values(went)
    for tenant in ("c", "d"):
        open_store(engine, tenant).galleries.delete("staff")


def test_it_can_be_taken_back(restricted_url: str) -> None:
    engine = open_engine(restricted_url)
    with engine.execution_options(**{WRITING: True, TENANT: EVERY_TENANT}).begin() as connection:
        command.downgrade(configured(connection), "base")
    engine.dispose()
    upgrade(restricted_url)
