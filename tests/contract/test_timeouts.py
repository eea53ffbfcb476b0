"""PostgreSQL ends what takes too long, for servers; locks may be waited for."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from facesvc.errors import StoreUnavailable
from facesvc.storage.engine import open_engine
from facesvc.storage.transactions import Locks
from tests.support.databases import postgresql_database


@pytest.fixture
def hurried(postgresql_admin: str) -> Iterator[Locks]:
    with postgresql_database(postgresql_admin) as database:
        engine = open_engine(database, statement_seconds=0.2)
        yield Locks(engine, "default")
        engine.dispose()


def test_a_statement_has_an_end(hurried: Locks) -> None:
    with pytest.raises(StoreUnavailable), hurried.reading() as session:
        session.execute(text("SELECT pg_sleep(20)"))
    with hurried.reading() as session:
        assert session.scalar(text("SELECT 1")) == 1


def test_a_transaction_that_was_left_open_has_an_end(hurried: Locks) -> None:
    def leave_open() -> None:
        with hurried.reading() as session:
            session.execute(text("SELECT 1"))
            threading.Event().wait(0.6)
            session.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable):
        leave_open()


def test_a_lock_may_be_waited_for(hurried: Locks) -> None:
    order: list[str] = []

    def second() -> None:
        with hurried.alone("work"):
            order.append("second")

    with hurried.alone("work"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.6)  # longer than a statement may take
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_commands_take_as_long_as_they_need(postgresql_admin: str) -> None:
    with postgresql_database(postgresql_admin) as database:
        engine = open_engine(database)
        with Locks(engine, "default").reading() as session:
            assert session.scalar(text("SHOW statement_timeout")) == "0"
        engine.dispose()
