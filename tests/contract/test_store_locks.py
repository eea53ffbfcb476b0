"""Work that one holder at a time does: among threads and among real processes, one of them killed while it holds."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from facesvc.errors import StoreUnavailable
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from facesvc.storage.transactions import Locks
from tests.contract.test_store_threads import at_once
from tests.support.databases import new_tenant

ROOT = Path(__file__).parents[2]
BRIEF = 0.05
"""Seconds of patience where the lock is known to be another's."""


@contextmanager
def holder(url: str, name: str = "build") -> Iterator[subprocess.Popen[str]]:
    """A process that waits for its turn, and has it until its input is closed. It has said that it started."""
    command = [sys.executable, "-m", "tests.contract.holder", url, name]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert said(process) == "started"
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line that the process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_held(store: Store, name: str = "build") -> bool:
    try:
        with store.locks.alone(name, BRIEF):
            return False
    except StoreUnavailable as error:
        if error.detail != "another process is at the same work; try again later":
            raise
        return True


def test_a_process_has_its_turn_until_it_is_done(url: str, store: Store) -> None:
    with holder(url) as process:
        assert said(process) == "alone"
        assert is_held(store)
        assert not is_held(store, "another work")
        assert not is_held(new_tenant(store.engine, "another tenant"))
        assert process.stdin is not None
        process.stdin.close()
        with store.locks.alone("build"):
            assert said(process) == "done"
            assert is_held(store)
        assert not is_held(store)


@pytest.mark.slow
def test_a_killed_process_gives_way(url: str, store: Store) -> None:
    """To a process that waits already."""
    with holder(url) as first:
        assert said(first) == "alone"
        with holder(url) as second:
            first.kill()
            assert said(second) == "alone"
            assert is_held(store)
            second.kill()
            with store.locks.alone("build", 20):
                assert is_held(store)


def test_one_at_a_time(url: str, store: Store, tmp_path: Path) -> None:
    """Each adds to what it read; none reads what another is about to replace."""
    path = tmp_path / "count"
    path.write_text("0")

    def work(own: Store, _: int) -> None:
        for _round in range(5):
            with own.locks.alone("count"):
                path.write_text(str(int(path.read_text()) + 1))

    assert at_once(url, work) == [None] * 8
    assert path.read_text() == "40"
    assert not is_held(store, "count")


def test_an_error_within_passes_and_gives_the_turn_back(store: Store) -> None:
    with pytest.raises(ValueError, match="of the work"), store.locks.alone("build"):
        raise ValueError("of the work")
    assert not is_held(store)


def test_holders_take_no_connections_from_others(store: Store) -> None:
    """Thirty holders, twice what the pool has, and each asks for a further connection."""

    def work(i: int) -> int:
        with store.locks.alone(f"work {i}", 20):
            return store.galleries.get("staff").key

    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(work, range(30))) == [store.galleries.get("staff").key] * 30


def test_database_that_is_away() -> None:
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable), Locks(engine, "default").alone("build"):
        raise AssertionError
    engine.dispose()
