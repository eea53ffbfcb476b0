"""`facesvc sweep` as an operator runs it; tests/contract/test_sweep.py has all that it can find."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from facesvc.core.types import NewGallery
from facesvc.index.flat import FlatIndex
from facesvc.index.snapshot import Snapshot
from facesvc.storage.engine import open_engine
from tests.support.commandline import CommandLine
from tests.support.databases import VERSION, keep_master_key, migrated_sqlite, new_reference, open_store, unit_vectors

CLEAN = {
    "tenant": "default", "gallery": "staff", "template_version": VERSION, "references": 3, "kind": "flat",
    "surplus": 0, "missing": 0, "on_disk": 0, "surplus_on_disk": 0,
}  # fmt: skip


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """Over a database of one gallery with three references."""
    engine = open_engine(migrated_sqlite(tmp_path))
    store = open_store(engine)
    store.galleries.create(NewGallery("staff"), VERSION)
    store.references.add("staff", "ada", [new_reference(seed) for seed in range(3)])
    engine.dispose()
    keep_master_key(tmp_path)
    return CommandLine(tmp_path)


@pytest.mark.slow
def test_nothing_is_left(cli: CommandLine) -> None:
    assert cli.json("sweep") == {"database": {}, "kept": [], "galleries": [CLEAN], "clean": True}
    done = cli.run("sweep")
    assert (done.returncode, done.stdout.decode()) == (0, f"default\tstaff\t{VERSION}\t3\tflat\t0\t0\t0\t0\n")
    assert b"nothing is left of what was deleted" in done.stderr


@pytest.mark.slow
def test_what_was_left_is_told_and_gone(cli: CommandLine) -> None:
    folder = cli.data / "snapshots" / "77-0123456789abcdef"
    index = FlatIndex()
    index.add(np.arange(3), unit_vectors(3))
    Snapshot(folder, "a gallery that was deleted").write(index, index.keys(), 1)
    connection = sqlite3.connect(cli.data / "facesvc.db")  # foreign keys are off unless one asks
    connection.execute("DELETE FROM face_references WHERE key = 3")
    connection.commit()
    connection.close()
    found = cli.json("sweep", code=1)
    assert found["kept"] == [f"snapshot {folder.name} of a gallery that is not there"]
    assert found["database"] == {"rows of templates without their row of face_references": 1}
    assert (found["clean"], folder.exists()) == (False, False)
    assert cli.json("sweep")["clean"] is True


@pytest.mark.slow
def test_snapshots_of_a_tenant_who_is_not_there(cli: CommandLine) -> None:
    tenant = cli.json("tenants", "create", "acme") and cli.json("tenants", "list")[-1]["id"]
    gone, living = (cli.data / "tenants" / name / "snapshots" / "1-0" for name in ("t-0123456789abcdef", tenant))
    gone.mkdir(parents=True)
    living.mkdir(parents=True)
    assert cli.json("sweep", code=1)["kept"] == [
        "snapshots of tenant t-0123456789abcdef, who is not there",
        "snapshot 1-0 of a gallery that is not there",
    ]
    assert not gone.exists()
    assert not living.exists()


def test_a_database_that_does_not_answer(cli: CommandLine) -> None:
    said = cli.refusal("--database-url", "postgresql://facesvc@127.0.0.1:1/none", "sweep")
    assert "store_unavailable" in said
