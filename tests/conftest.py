"""What all tests share: sample photographs fetched once per machine, model packs built once per source."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

from facesvc.cli.samples import fetch
from facesvc.core.types import Pixels
from facesvc.pipeline.decode import DecodeLimits, decode
from tests.support.commandline import CommandLine
from tests.support.databases import PostgresqlDatabases, migrated_sqlite, postgresql, postgresql_database
from tests.support.engines import EngineOpeners, milvus
from tests.support.hostile import HostileFile, hostile_files

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Before any test loads gRPC, the Milvus client's: its fork handlers write to stderr of processes that tests start.

LIMITS = DecodeLimits(max_bytes=20 * 2**20, max_pixels=50_000_000)
"""The service's defaults."""
MODELS = Path(__file__).parents[1] / "facesvc" / "models"
DAY = 86_400


@pytest.fixture(scope="session")
def cache() -> Path:
    """Survives between runs; shared by all test processes."""
    folder = user_cache_path("facesvc")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def samples(cache: Path) -> Path:
    """Folder of the sample photographs, laid out as ``facesvc.cli.samples.fetch`` says."""
    with FileLock(cache / "samples.lock"):
        fetch(cache / "samples")
    return cache / "samples"


@pytest.fixture(scope="session")
def photographs(samples: Path) -> dict[str, bytes]:
    """Real photographs by name: obama, obama2, obama3, biden, obama_partial, obama_partial2, astronaut, group (three
    people side by side), no_face."""
    return {path.stem: path.read_bytes() for path in sorted(samples.rglob("*.[jp][pn]g"))}


@pytest.fixture(scope="session")
def pixels(photographs: dict[str, bytes]) -> dict[str, Pixels]:
    """The photographs, (h w 3) uint8 RGB. All tests share them: copy before you write."""
    return {name: decode(data, LIMITS).pixels for name, data in photographs.items()}


@pytest.fixture(scope="session")
def hostile(photographs: dict[str, bytes]) -> dict[str, HostileFile]:
    """Hostile and odd files by name, with the code that the pipeline owes each: see ``tests.support.hostile``."""
    return hostile_files(photographs)


@pytest.fixture(scope="session")
def packs_folder(cache: Path) -> Path:
    """Folder in which test processes build model packs once, for these very sources of ``facesvc.models``.
    Build into it through ``locked_build``."""
    sources = b"".join(path.read_bytes() for path in sorted(MODELS.rglob("*")) if path.suffix in (".py", ".json"))
    folder = cache / f"test-packs-{hashlib.sha256(sources).hexdigest()[:12]}"
    with FileLock(cache / "test-packs.lock"):
        for old in cache.glob("test-packs-*/"):
            if old != folder and time.time() - old.stat().st_mtime > DAY:
                shutil.rmtree(old)
        folder.mkdir(exist_ok=True)
        os.utime(folder)
    return folder


@pytest.fixture(scope="session")
def locked_build(packs_folder: Path) -> Callable[[str], Path]:
    """Builds a pack by name in ``packs_folder`` unless another process has, and returns that folder."""
    from facesvc.models.packs import Packs  # only tests that ask for a pack pay for the import

    def build(name: str) -> Path:
        with FileLock(packs_folder / f"{name}.lock"):
            Packs(packs_folder).build(name)
        return packs_folder

    return build


@pytest.fixture(scope="session")
def default_packs(locked_build: Callable[[str], Path]) -> Path:
    """Folder of packs in which the default one is built."""
    from facesvc.models.packs import DEFAULT_PACK

    return locked_build(DEFAULT_PACK)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> CommandLine:
    """`facesvc` over a new data folder, which the tests of a module share. A module that needs more in it overrides
    this fixture with one that takes it and adds to it."""
    return CommandLine.over(tmp_path_factory.mktemp("cli") / "data", default_packs)


@pytest.fixture(scope="session")
def postgresql_admin() -> Iterator[str]:
    """One server for all tests."""
    with postgresql() as admin:
        yield admin


@pytest.fixture(scope="session")
def postgresql_databases(postgresql_admin: str) -> Iterator[PostgresqlDatabases]:
    """What gives one test after another a migrated, empty database."""
    databases = PostgresqlDatabases(postgresql_admin)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests."""
    with milvus(tmp_path_factory.mktemp("milvus") / "data") as server:
        yield server.uri


@pytest.fixture(scope="session")
def engine_openers(milvus_uri: str, postgresql_admin: str) -> Iterator[EngineOpeners]:
    """What makes empty indexes in the vector engines."""
    with postgresql_database(postgresql_admin) as database:
        openers = EngineOpeners(milvus_uri, database)
        yield openers
        openers.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    if request.param == "sqlite":
        yield migrated_sqlite(tmp_path)
        return
    with request.getfixturevalue("postgresql_databases").database() as database:
        yield database
