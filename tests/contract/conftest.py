"""Every contract of the store runs on SQLite and on PostgreSQL, in the clear, and sealed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from facesvc.core.types import NewGallery
from facesvc.storage.cipher import Codec
from facesvc.storage.engine import open_engine
from facesvc.storage.references import SqlReferenceStore
from tests.support.databases import VERSION, add_tenant, migrated_sqlite, plain_codec, postgresql_database, sealed_codec
from tests.support.engines import ENGINES, EngineKeepers

CodecOf = Callable[[Engine], Codec]
SEALED_TOO = (
    "test_exchange",
    "test_model_change",
    "test_store_answers",
    "test_store_erasure",
    "test_store_galleries",
    "test_store_limits",
    "test_store_references",
    "test_store_revisions",
    "test_store_subjects",
)
"""Whose stores also are sealed ones; what is built on stores is tested in the clear."""

TENANTS = ("acme", "theirs")
"""Others that there are; only sealed rows want to know."""
INDEX_SUITE = "test_index.py"
"""What every index must do; runs on the vector engines by default. What is built on it does so in the slow run: an
engine's test takes seconds."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent and item.path.name != INDEX_SUITE]
    items[:] = [item for item in items if item not in ours or item.path.stem in SEALED_TOO or not is_sealed(item)]
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


def is_sealed(item: pytest.Item) -> bool:
    """Whether the test's stores seal what they write."""
    parameters = getattr(item, "callspec", None)
    return parameters is not None and parameters.params.get("url") == "sealed"


@pytest.fixture(params=["sqlite", "postgresql", "sealed"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database of this test's own; "sealed" is SQLite, and its stores seal what they write."""
    if request.param != "postgresql":
        yield migrated_sqlite(tmp_path)
        return
    with postgresql_database(request.getfixturevalue("postgresql_admin")) as database:
        yield database


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def codec_of(request: pytest.FixtureRequest, url: str) -> CodecOf:
    """What the stores of a database keep their rows with."""
    return sealed_codec if is_sealed(request.node) else plain_codec


@pytest.fixture
def store(request: pytest.FixtureRequest, url: str, codec_of: CodecOf) -> Iterator[SqlReferenceStore]:
    """A store with the empty gallery "staff", which keeps no photographs."""
    engine = open_engine(url)
    store = SqlReferenceStore(engine, codec=codec_of(engine))
    for tenant in TENANTS if is_sealed(request.node) else ():
        add_tenant(engine, tenant)
    store.create_gallery(NewGallery("staff"), VERSION)
    yield store
    engine.dispose()


@pytest.fixture
def engine_keeper(request: pytest.FixtureRequest) -> Iterator[EngineKeepers]:
    """Makes keepers in the vector engines, in which nothing is kept yet; further ones are as of other processes."""
    with postgresql_database(request.getfixturevalue("postgresql_admin"), template="template1") as vectors:
        keepers = EngineKeepers(request.getfixturevalue("milvus_uri"), vectors)
        yield keepers
        keepers.close()


@pytest.fixture
def other(url: str, codec_of: CodecOf) -> Iterator[SqlReferenceStore]:
    """A second process's view of the same database: its own engine and connections."""
    engine = open_engine(url)
    yield SqlReferenceStore(engine, codec=codec_of(engine))
    engine.dispose()
