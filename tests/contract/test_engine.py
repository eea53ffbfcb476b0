"""What opening a database must not do to those who have it open, and how its writers take turns."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from facesvc.errors import StoreUnavailable
from facesvc.storage import engine as engines
from facesvc.storage.engine import open_engine
from facesvc.storage.transactions import Transactions
from tests.support.databases import migrated_sqlite

WRITER = """
import sys
from sqlalchemy import text
from facesvc.storage.engine import WRITING, open_engine
INSERT = "INSERT INTO data_keys (tenant, version, wrapped, created_at) VALUES (:tenant, 1, '', '2026-01-01')"
engine = open_engine(sys.argv[1])
with engine.execution_options(**{WRITING: True}).begin() as connection:
    connection.execute(text(INSERT), {"tenant": sys.argv[2]})
engine.dispose()
"""
COUNT = text("SELECT count(*) FROM data_keys")


def test_a_second_engine_leaves_the_first_ones_locks_alone(tmp_path: Path) -> None:
    """Else a process that ends believes itself the last one, and takes the log away that this one reads."""
    url = migrated_sqlite(tmp_path)
    first = open_engine(url)
    with first.connect() as connection:
        assert connection.scalar(COUNT) == 0
    second = open_engine(url)
    seen = []
    for tenant in ("a", "b"):
        subprocess.run([sys.executable, "-c", WRITER, url, tenant], check=True)
        with first.connect() as connection:
            seen.append(connection.scalar(COUNT))
    assert seen == [1, 2]
    first.dispose()
    second.dispose()


def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'facesvc.db'}")
    engine.dispose()
    assert (tmp_path / "facesvc.db").stat().st_mode & 0o777 == 0o600


def test_writers_wait_for_each_other_and_readers_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.05)
    engine = open_engine(migrated_sqlite(tmp_path))
    rows, others = Transactions(engine, "default"), Transactions(engine, "acme")
    with rows.writing() as session:
        with others.reading() as reader:
            assert reader.scalar(COUNT) == 0
        with pytest.raises(StoreUnavailable, match="too many writers"), others.writing():
            raise AssertionError("two write at once")
        assert session.scalar(COUNT) == 0
    with others.writing() as session:
        assert session.scalar(COUNT) == 0
    engine.dispose()
