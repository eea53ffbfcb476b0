"""Tenants in one process: apart from each other, opened when they are asked for, followed while they are there."""

import re
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text, update

from facesvc.bootstrap import open_tenant
from facesvc.config import Settings
from facesvc.core.canary import Alarms
from facesvc.core.ports import Extractor
from facesvc.core.types import Gallery
from facesvc.database import Database, open_database
from facesvc.errors import RequestError
from facesvc.index.projection import Projection
from facesvc.index.snapshots import SnapshotKeeper, Snapshotted
from facesvc.indexing import in_memory, snapshots_of
from facesvc.pipeline.loaded import LoadedPacks
from facesvc.refusals import SealBroken, TenantExists, TenantNotFound
from facesvc.storage.tables import TenantRow
from facesvc.storage.transactions import EVERY_TENANT, Transactions
from facesvc.tenancy import Tenants
from tests.databases import VERSION, new_reference


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, database_url=url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with open_database(settings) as opened:
        yield opened


@pytest.fixture
def tenants(settings: Settings, database: Database) -> Iterator[Tenants]:
    """Over indexes of this process; nothing here looks at a photograph."""
    packs = LoadedPacks(cast(Extractor, None))
    opener = partial(open_tenant, settings, database, packs, Alarms())
    with closing(Tenants(database.register, database.api_keys, packs, Alarms(), opener)) as made:
        yield made


def never() -> bool:
    return False


def enrolled(database: Database, tenant: str, seed: int) -> Gallery:
    """A gallery "staff" with one subject."""
    store = database.store(tenant)
    store.create_gallery("staff", VERSION, False, {})
    store.add_references("staff", "ada", [new_reference(seed)])
    return store.gallery("staff")


def test_tenants_are_called_by_name_or_id(database: Database) -> None:
    made = database.register.create("Acme & Söhne")
    assert re.fullmatch(r"t-[0-9a-f]{16}", made.id)
    assert database.register.find("Acme & Söhne") == made
    assert database.register.find(made.id) == made
    assert [tenant.name for tenant in database.register.tenants()] == ["default", "Acme & Söhne"]
    with pytest.raises(TenantExists):
        database.register.create("Acme & Söhne")
    with pytest.raises(TenantExists):
        database.register.create(made.id)
    with pytest.raises(TenantExists):
        database.register.create("default")
    with pytest.raises(RequestError):
        database.register.create("a/b")
    with pytest.raises(TenantNotFound):
        database.register.find("acme")


def test_a_stolen_database_names_no_tenant(database: Database) -> None:
    made = database.register.create("acme")
    with Transactions(database.engine, EVERY_TENANT).reading() as session:
        rows = repr([dict(row) for row in session.execute(text("SELECT * FROM tenants")).mappings()])
    assert made.id in rows
    assert "acme" not in rows


def test_a_name_that_is_given_to_another_tenant_is_refused(database: Database) -> None:
    one, other = (database.register.create(name) for name in ("one", "other"))
    with Transactions(database.engine, EVERY_TENANT).writing() as session:
        sealed = session.get_one(TenantRow, one.id).sealed
        session.execute(update(TenantRow).where(TenantRow.tenant == other.id).values(sealed=sealed))
    with pytest.raises(SealBroken):
        database.register.tenants()


def test_the_default_tenant_stays(database: Database) -> None:
    default = database.register.find("default")
    with pytest.raises(RequestError):
        database.register.delete(default)
    gone = database.register.create("gone")
    database.register.delete(gone)
    with pytest.raises(TenantNotFound):
        database.register.delete(gone)


def test_nobody_is_opened_who_is_not_there(tenants: Tenants) -> None:
    with pytest.raises(TenantNotFound):
        tenants.of("t-0123456789abcdef")
    assert tenants.of("default").store.galleries(10).items == ()


def test_each_searches_its_own(tenants: Tenants, database: Database) -> None:
    acme = database.register.create("acme").id
    for seed, tenant in enumerate((acme, "default"), start=1):
        gallery = enrolled(database, tenant, seed)
        found = tenants.of(tenant).indexes.search(gallery, new_reference(1).sample.template.vector[None], 5)
        stored = database.store(tenant).references("staff", "ada", 5).items
        assert found == [[reference.key for reference in stored]]
    assert sorted(index.references for index in tenants.loaded()) == [1, 1]


def test_following_opens_all_and_deletes_nothing_of_each_other(
    tenants: Tenants, database: Database, settings: Settings
) -> None:
    acme = database.register.create("acme").id
    kept = []
    for seed, tenant in enumerate((acme, "default")):
        gallery = enrolled(database, tenant, seed)
        index = cast(Projection, tenants.of(tenant).indexes).caught_up(gallery)
        keeper = in_memory(settings, database.store(tenant), database.snapshots(tenant))("auto")
        assert isinstance(keeper, SnapshotKeeper)
        assert isinstance(index, Snapshotted)
        snapshot = keeper.snapshot(gallery)
        snapshot.write(index.codes, index.codes.keys(), index.revision)
        kept.append(snapshot.folder)
        (snapshot.folder.parent / "77-0123456789abcdef").mkdir()
    tenants.follow(never)
    assert sorted(index.references for index in tenants.loaded()) == [1, 1]
    assert [path for folder in kept for path in folder.parent.iterdir() if path.is_dir()] == kept


def test_a_deleted_tenant_leaves_memory_and_disk(tenants: Tenants, database: Database, settings: Settings) -> None:
    acme = database.register.create("acme")
    enrolled(database, acme.id, 1)
    tenants.follow(never)
    folder = snapshots_of(settings, acme.id)
    (folder / "77-0123456789abcdef").mkdir(parents=True)
    database.register.delete(acme)
    tenants.follow(never)
    assert list(tenants.loaded()) == []
    assert list(folder.iterdir()) == []
    with pytest.raises(TenantNotFound):
        tenants.of(acme.id)
