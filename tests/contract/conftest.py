"""Every contract of the store runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from facesvc.core.types import NewGallery
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from tests.support.databases import VERSION, open_store, postgresql_database
from tests.support.engines import ENGINES, EngineHomes

INDEX_SUITE = "test_index.py"
"""What every index must do; runs on the vector engines by default. What is built on it does so in the slow run: an
engine's test takes seconds."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent and item.path.name != INDEX_SUITE]
    for item in ours:
        if any(engine in item.name for engine in ENGINES):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'facesvc.db'}"
        return
    with postgresql_database(request.getfixturevalue("postgresql_admin"), template="template1") as database:
        yield database


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with the empty gallery "staff", which keeps no photographs."""
    engine = open_engine(url)
    store = open_store(engine)
    store.galleries.create(NewGallery("staff"), VERSION)
    yield store
    engine.dispose()


@pytest.fixture
def engine_home(request: pytest.FixtureRequest) -> Iterator[EngineHomes]:
    """Makes homes in the vector engines, in which nothing is kept yet; further ones are as of other processes."""
    with postgresql_database(request.getfixturevalue("postgresql_admin"), template="template1") as vectors:
        homes = EngineHomes(request.getfixturevalue("milvus_uri"), vectors)
        yield homes
        homes.close()


@pytest.fixture
def other(url: str) -> Iterator[Store]:
    """A second process's view of the same database: its own engine and connections."""
    engine = open_engine(url)
    yield open_store(engine)
    engine.dispose()
