"""The migrations make exactly the schema that the code reads, and can be taken back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import migrations
from facesvc.core.types import NewGallery, Receipt, ShadowState, Template, Ticket
from facesvc.errors import StoreUnavailable
from facesvc.storage.engine import WRITING, open_engine
from facesvc.storage.migrate import configured, upgrade
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.tables import Table
from tests.contract.values import JPEG, assert_same, counts
from tests.support.databases import VERSION, new_reference, unit_vectors

TABLES = {
    "galleries", "subjects", "face_references", "templates", "template_failures", "photographs", "revisions",
    "idempotent_answers", "tenants", "data_keys", "api_keys", "revealed_identities", "audit", "erasures",
    "alembic_version",
}  # fmt: skip
LATER = {"tenants", "data_keys", "api_keys", "revealed_identities", "audit", "erasures"}
"""Have their rows in tests of their own."""
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


def revisions() -> list[str]:
    """Every schema that was released, oldest first."""
    scripts = ScriptDirectory(next(iter(migrations.__path__)))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def move(url: str, revision: str, direction: Callable[..., None]) -> None:
    engine = open_engine(url)
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        direction(configured(connection), revision)
    engine.dispose()


Rows = list[dict[str, Any]]


def contents(url: str) -> dict[str, Rows]:
    """Every row of every table, by column."""
    engine = open_engine(url)
    with engine.connect() as connection:
        found = {
            table: sorted(map(dict, connection.execute(text(f"SELECT * FROM {table}")).mappings()), key=repr)
            for table in tables(url)
        }
    engine.dispose()
    return found


def shared(found: dict[str, Rows], like: dict[str, Rows]) -> dict[str, Rows]:
    """Of the tables of ``like`` what both have of them, column by column."""
    columns = {t: found[t][0].keys() & rows[0].keys() for t, rows in like.items() if t in found and rows and found[t]}
    return {
        t: sorted(({c: row[c] for c in sorted(names)} for row in found[t]), key=repr) for t, names in columns.items()
    }


@pytest.mark.parametrize("revision", revisions())
def test_down_and_up_again_with_data_in_place(bare_url: str, revision: str) -> None:
    """Tables and columns that a schema has keep their values, on the way down to it and up from it; the service then
    goes on."""
    upgrade(bare_url)
    engine = open_engine(bare_url)
    store = SqlReferenceStore(engine)
    store.create_gallery(NewGallery("staff", True, {"floor": 3}), VERSION)
    store.claim(TICKET)
    receipt = Receipt(TICKET, lambda references: references[0].id.encode())
    ada, _ = store.add_references("staff", "ada", [new_reference(1, photograph=JPEG), new_reference(2)], receipt)
    store.delete_reference("staff", "eve", store.add_references("staff", "eve", [new_reference(3)])[0].id)
    before = contents(bare_url)
    assert {table for table, rows in before.items() if not rows} == {"template_failures", *LATER}

    move(bare_url, revision, command.downgrade)
    older = contents(bare_url)
    assert older.pop("alembic_version") == [{"version_num": revision}]
    assert set(older) <= set(before)
    assert shared(older, before) == shared(before, older)
    assert templates(older) == templates(before)
    move(bare_url, "head", command.upgrade)
    after = contents(bare_url)
    derived = {"templates", "alembic_version"}
    assert shared(after, older) == shared(older, after)
    assert after["templates"] == before["templates"]
    assert {t: rows for t, rows in after.items() if t not in {*older, *derived}} == {
        t: [] for t in before.keys() - older.keys() - derived
    }
    assert_same(store.references("staff", "ada", 1).items[0], ada)
    (bob,) = store.add_references("staff", "bob", [new_reference(4)])
    assert (bob.key, counts(store)) == (4, (4, 3, 3))  # keys are still given out once
    assert store.gallery("staff").templates == 3
    engine.dispose()


def test_down_and_up_again_in_the_middle_of_a_model_change(bare_url: str) -> None:
    """The older schema keeps the version that answers, and who has a template of it; the newer one takes that over."""
    upgrade(bare_url)
    engine = open_engine(bare_url)
    store = SqlReferenceStore(engine)
    gallery = store.create_gallery(NewGallery("staff", True), VERSION)
    (ada,) = store.add_references("staff", "ada", [new_reference(1, photograph=JPEG)])
    store.add_references("staff", "bob", [new_reference(2), new_reference(3)])
    gallery = store.start_model_change("staff", "sha256:next")
    made = {key: Template(unit_vectors(1, 100 + key)[0], "sha256:next") for key in (1, 2)}
    store.add_templates(gallery, "sha256:next", made, {3: "no_face"})
    store.swap_versions("staff", ShadowState.FILLING, leave=True)

    move(bare_url, "0002", command.downgrade)
    older = contents(bare_url)
    assert [(row["key"], row["template_version"], row["revision"]) for row in older["face_references"]] == [
        (1, "sha256:next", 4),
        (2, "sha256:next", 4),
    ]
    assert [row["vector"] for row in older["face_references"]] == [t.vector.tobytes() for t in made.values()]
    assert {(row["reference_key"], row["template_version"]) for row in older["revisions"]} == {
        (1, "sha256:next"), (2, "sha256:next"),
    }  # fmt: skip
    assert {row["id"]: row["references"] for row in older["subjects"]} == {"ada": 1, "bob": 1}

    upgrade(bare_url)
    found = store.gallery("staff")
    assert (found.template_version, found.templates, found.references, found.shadow) == ("sha256:next", 2, 2, None)
    (kept,) = store.references("staff", "ada", 9).items
    assert kept.id == ada.id
    np.testing.assert_array_equal(kept.sample.template.vector, made[1].vector)
    assert store.changes(found, 0).added.tolist() == [1, 2]
    engine.dispose()


def templates(found: dict[str, Rows]) -> list[tuple[int, str, int, bytes]]:
    """Key of the reference, version, revision and vector, from where the schema has them."""
    rows = found.get("templates", [])
    own = [dict(row, reference_key=row["key"]) for row in found["face_references"] if "vector" in row]
    columns = ("reference_key", "template_version", "revision", "vector")
    return sorted(tuple(row[column] for column in columns) for row in rows or own)


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
