"""Which home each gallery's index gets, as configured: the part of the composition root that needs no model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree

from sqlalchemy import Engine

from facesvc.bootstrap.database import open_database
from facesvc.config import IndexKind, Settings
from facesvc.core.access import DEFAULT_TENANT
from facesvc.core.types import Gallery
from facesvc.errors import IndexUnavailable
from facesvc.index.exact import ExactIndex
from facesvc.index.growing import Kind, StoredKind, storable
from facesvc.index.homes import ChosenHomes, IndexHome, MemoryHome
from facesvc.index.local import SnapshotHome
from facesvc.index.milvus import MilvusHome, MilvusServer
from facesvc.index.pgvector import PgVectorHome
from facesvc.index.snapshot import Seal, Storable
from facesvc.index.sweep import Sweep
from facesvc.models.packs import Packs
from facesvc.storage.engine import address, connected
from facesvc.storage.erasures import Residue
from facesvc.storage.store import Store
from facesvc.storage.transactions import Locks


@contextmanager
def open_home(settings: Settings, store: Store, in_memory: Callable[[Kind], IndexHome]) -> Iterator[IndexHome]:
    """The home of all galleries, until the context ends. in_memory: makes that of a kind in this process's memory.

    Nothing is connected yet. Raises IndexUnavailable where an engine is chosen that lacks its address or client.
    """
    made: dict[IndexKind, IndexHome] = {}

    def home(kind: IndexKind) -> IndexHome:
        if kind not in made:
            made[kind] = _engine_home(kind, settings, store.locks, engine) or in_memory(kind)  # type: ignore[arg-type]
        return made[kind]

    with connected(settings.url) as engine:  # of pgvector alone, see PgVectorHome
        chosen = {gallery: home(kind) for gallery, kind in settings.gallery_index.items()}
        elsewhere = [home("auto"), *(home(kind) for kind in _reachable(settings, engine))]
        yield ChosenHomes(home(settings.index), chosen, elsewhere)


def describe_engines(settings: Settings, locks: Locks) -> Iterator[tuple[str, str | IndexUnavailable]]:
    """Of each vector engine that is chosen: what it says of itself, or why it says nothing."""
    with connected(settings.url) as engine:
        chosen: set[IndexKind] = {settings.index, *settings.gallery_index.values()}
        for kind in sorted(chosen):
            try:
                if home := _engine_home(kind, settings, locks, engine):
                    yield kind, home.describe()
            except IndexUnavailable as error:
                yield kind, error


def sweeps(settings: Settings) -> Iterator[tuple[str, Residue, Sweep]]:
    """Of each tenant: its id, and what looks after residue in its rows, and in all that is kept of its galleries.
    Raises StoreUnavailable, IndexUnavailable."""
    with open_database(settings) as database:
        for tenant in database.register.ids():
            store = database.store(tenant)
            with open_home(settings, store, in_memory(settings, store, database.snapshots(tenant))) as home:
                yield tenant, Residue(database.engine, tenant), Sweep(store, home)


def sweep_tenants(settings: Settings) -> list[str]:
    """Deletes what lies in the data folder of tenants that are not there; what it was."""
    folders = sorted((settings.data / "tenants").glob("t-*"))  # listed first: a new tenant's is of one that is there
    with open_database(settings) as database:
        there = set(database.register.ids())
    gone = [folder for folder in folders if folder.name not in there]
    for folder in gone:
        rmtree(folder)
    return [f"snapshots of tenant {folder.name}, who is not there" for folder in gone]


def in_memory(settings: Settings, store: Store, seal: Seal) -> Callable[[Kind], IndexHome]:
    """What makes the home of indexes in this process's memory, of a kind. seal: how their snapshots are kept."""
    packs, folder = Packs(settings.packs), snapshots_of(settings, store.tenant)

    def open_index(kind: StoredKind, gallery: Gallery) -> Storable:
        pack = packs.of_version(gallery.template_version)
        return storable(kind, pack.norm if pack else 1.0)

    def home(kind: Kind) -> IndexHome:
        if kind == "exact":
            return MemoryHome(ExactIndex)
        return SnapshotHome(partial(open_index, kind), store, folder, seal=seal)

    return home


def snapshots_of(settings: Settings, tenant: str) -> Path:
    """Each tenant's own: what lies there and is of none of its galleries is deleted."""
    return settings.data / "snapshots" if tenant == DEFAULT_TENANT else settings.data / "tenants" / tenant / "snapshots"


def _engine_home(kind: IndexKind, settings: Settings, locks: Locks, engine: Engine) -> MilvusHome | PgVectorHome | None:
    if kind == "pgvector":
        return PgVectorHome(engine, locks.tenant)
    if kind == "milvus":
        if settings.milvus_uri is None:
            raise IndexUnavailable("a gallery is to be kept in Milvus, but FACESVC_MILVUS_URI is not set")
        token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
        owner = sha256(f"{address(settings.url)}\0{locks.tenant}".encode()).hexdigest()[:16]
        return MilvusHome(MilvusServer(settings.milvus_uri, token), owner, locks.alone, settings.milvus_index)
    return None


def _reachable(settings: Settings, engine: Engine) -> Iterator[IndexKind]:
    """Engines that may have kept galleries before, whether one is kept there now or not."""
    if settings.milvus_uri is not None:
        yield "milvus"
    if engine.dialect.name == "postgresql" and find_spec("pgvector"):
        yield "pgvector"
