"""The migrations make exactly the schema that the code reads, and can be taken back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import migrations
from facesvc.core.types import Receipt, Ticket
from facesvc.errors import StoreUnavailable
from facesvc.storage.engine import WRITING, open_engine
from facesvc.storage.migrate import configured, upgrade
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.tables import Table
from tests.contract.values import JPEG, assert_same
from tests.databases import VERSION, new_reference

TABLES = {
    "galleries", "subjects", "face_references", "photographs", "revisions", "idempotent_answers", "alembic_version",
}  # fmt: skip
TICKET = Ticket("key", "request")


def tables(url: str) -> set[str]:
    engine = open_engine(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


def test_upgrade_makes_the_tables_and_can_run_again(bare_url: str) -> None:
    upgrade(bare_url)
    upgrade(bare_url)
    assert tables(bare_url) == TABLES


def test_migrated_schema_is_the_one_in_tables(bare_url: str) -> None:
    upgrade(bare_url)
    engine = open_engine(bare_url)
    with engine.connect() as connection:
        identities = connection.dialect.name == "postgresql"  # SQLite has AUTOINCREMENT in their place
        context = MigrationContext.configure(connection, opts={"compare_server_default": identities})
        assert compare_metadata(context, Table.metadata) == []
    engine.dispose()


def test_every_table_names_its_tenant(bare_url: str) -> None:
    upgrade(bare_url)
    engine = open_engine(bare_url)
    columns = {table: {c["name"] for c in inspect(engine).get_columns(table)} for table in TABLES - {"alembic_version"}}
    engine.dispose()
    assert {table for table, names in columns.items() if "tenant" in names} == TABLES - {"alembic_version"}
    assert {t for t, names in columns.items() if "template_version" in names} == {
        "galleries",
        "face_references",
        "revisions",
    }


def test_downgrade_leaves_nothing_and_upgrade_works_after_it(bare_url: str) -> None:
    upgrade(bare_url)
    engine = open_engine(bare_url)
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        command.downgrade(configured(connection), "base")
    engine.dispose()
    assert tables(bare_url) == {"alembic_version"}
    upgrade(bare_url)
    assert tables(bare_url) == TABLES


def revisions() -> list[str]:
    """Every schema that was released, oldest first."""
    scripts = ScriptDirectory(next(iter(migrations.__path__)))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def move(url: str, revision: str, direction: Callable[..., None]) -> None:
    engine = open_engine(url)
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        direction(configured(connection), revision)
    engine.dispose()


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, by its columns' order."""
    engine = open_engine(url)
    with engine.connect() as connection:
        found = {
            table: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {table}"))), key=repr)
            for table in tables(url)
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("revision", revisions())
def test_down_and_up_again_with_data_in_place(bare_url: str, revision: str) -> None:
    """Tables that a schema has keep their rows, on the way down to it and up from it; the service then goes on."""
    upgrade(bare_url)
    engine = open_engine(bare_url)
    store = SqlReferenceStore(engine)
    store.create_gallery("staff", VERSION, True, {"floor": 3})
    store.claim(TICKET)
    receipt = Receipt(TICKET, lambda references: references[0].id.encode())
    ada, _ = store.add_references("staff", "ada", [new_reference(1, photograph=JPEG), new_reference(2)], receipt)
    store.delete_reference("staff", "eve", store.add_references("staff", "eve", [new_reference(3)])[0].id)
    before = contents(bare_url)
    assert [table for table, rows in before.items() if not rows] == []

    move(bare_url, revision, command.downgrade)
    older = contents(bare_url)
    assert older.pop("alembic_version") == [(revision,)]
    assert older == {table: before[table] for table in older}
    move(bare_url, "head", command.upgrade)
    after = contents(bare_url)
    assert {table: after[table] for table in older} == older
    assert {table: after[table] for table in after.keys() - older.keys() - {"alembic_version"}} == {
        table: [] for table in before.keys() - older.keys() - {"alembic_version"}
    }
    assert_same(store.references("staff", "ada", 1).items[0], ada)
    (bob,) = store.add_references("staff", "bob", [new_reference(4)])
    assert (bob.key, store.gallery("staff").references) == (4, 3)  # keys are still given out once
    engine.dispose()


def test_processes_that_start_at_once_migrate_once(bare_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        for outcome in [pool.submit(upgrade, bare_url) for _ in range(6)]:
            assert outcome.result() is None
    assert tables(bare_url) == TABLES


def test_store_without_tables_is_unavailable(bare_url: str) -> None:
    engine = open_engine(bare_url)
    with pytest.raises(StoreUnavailable):
        SqlReferenceStore(engine).ping()
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("nonsense", "database URL is not valid"),
        ("sqlite://", "SQLite needs a plain file: sqlite:///path/to/facesvc.db"),
        ("sqlite:///:memory:", "SQLite needs a plain file: sqlite:///path/to/facesvc.db"),
        ("sqlite:////proc/nowhere/facesvc.db", "database file can't be opened: No such file or directory"),
        ("mysql://localhost/faces", "database 'mysql' is not supported: use sqlite or postgresql"),
        ("postgresql+psycopg://nobody:secret@127.0.0.1:1/faces", "database can't be migrated"),
    ],
)
def test_unusable_urls(url: str, detail: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        upgrade(url)
    assert caught.value.detail == detail


def test_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "facesvc.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailable):
        upgrade(f"sqlite:///{tmp_path / 'facesvc.db'}")
    assert (tmp_path / "facesvc.db").read_bytes() == b"not a database at all" * 100
