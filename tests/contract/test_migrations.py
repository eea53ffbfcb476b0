"""The migrations make exactly the schema that the code reads, and can be taken back."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from facesvc.errors import StoreUnavailable
from facesvc.storage.access import SqlTenants
from facesvc.storage.engine import WRITING, open_engine
from facesvc.storage.migrate import configured, newest, scripts, upgrade
from facesvc.storage.tables import Table
from facesvc.storage.transactions import EVERY_TENANT

TABLES = {
    "galleries", "subjects", "face_references", "templates", "template_failures", "photographs", "revisions",
    "idempotent_answers", "tenants", "data_keys", "api_keys", "revealed_identities", "audit", "erasures",
    "alembic_version",
}  # fmt: skip


def tables(url: str) -> set[str]:
    engine = open_engine(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


def test_upgrade_makes_the_tables_and_can_run_again(bare_url: str) -> None:
    upgrade(bare_url)
    upgrade(bare_url)
    assert tables(bare_url) == TABLES


def test_the_newest_script_is_alembics_head() -> None:
    assert newest() == ScriptDirectory(scripts()).get_current_head()


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
        "templates",
        "template_failures",
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


def test_processes_that_start_at_once_migrate_once(bare_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        for outcome in [pool.submit(upgrade, bare_url) for _ in range(6)]:
            assert outcome.result() is None
    assert tables(bare_url) == TABLES


def test_store_without_tables_is_unavailable(bare_url: str) -> None:
    engine = open_engine(bare_url)
    with pytest.raises(StoreUnavailable):
        SqlTenants(engine, EVERY_TENANT).ping()
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
