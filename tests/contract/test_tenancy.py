"""Tenants in one process: apart from each other, opened when they are asked for, followed while they are there."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select, text, update

from facesvc.bootstrap import open_tenant
from facesvc.bootstrap.database import Database, open_database
from facesvc.bootstrap.indexes import in_memory, snapshots_of
from facesvc.config import Settings
from facesvc.core.access import Caller
from facesvc.core.ports import Extractor, Extractors
from facesvc.core.types import Capture, FaceChoice, Gallery, NewGallery, NewSubject, Retention, SubjectChange, Ticket
from facesvc.errors import FaceServiceError, RequestError, SealBroken, SubjectExists, TenantExists, TenantNotFound
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.local import SnapshotHome, Snapshotted
from facesvc.pipeline.packs import LoadedPacks
from facesvc.service import FaceService
from facesvc.service.disclosure import Alarms
from facesvc.service.enrolment import EnrolmentRequest
from facesvc.service.tenants import Tenants
from facesvc.storage.tables import AnswerRow, ReferenceRow, SubjectRow, TenantRow
from facesvc.storage.transactions import EVERY_TENANT, Transactions
from tests.contract.values import rows
from tests.support.databases import VERSION, new_reference


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
    store.galleries.create(NewGallery("staff"), VERSION)
    store.references.add("staff", "ada", [new_reference(seed)])
    return store.galleries.get("staff")


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
    assert tenants.of("default").galleries.list(10).items == ()


def test_each_searches_its_own(tenants: Tenants, database: Database) -> None:
    acme = database.register.create("acme").id
    for seed, tenant in enumerate((acme, "default"), start=1):
        gallery = enrolled(database, tenant, seed)
        found = tenants.of(tenant).resources.indexes.search(gallery, new_reference(1).sample.template.vector[None], 5)
        stored = database.store(tenant).references.list("staff", "ada", 5).items
        assert found == [[reference.key for reference in stored]]
    assert sorted(index.references for index in tenants.loaded()) == [1, 1]


def test_following_opens_all_and_deletes_nothing_of_each_other(
    tenants: Tenants, database: Database, settings: Settings
) -> None:
    acme = database.register.create("acme").id
    kept = []
    for seed, tenant in enumerate((acme, "default")):
        gallery = enrolled(database, tenant, seed)
        index = cast(GalleryIndexes, tenants.of(tenant).resources.indexes).caught_up(gallery)
        home = in_memory(settings, database.store(tenant), database.snapshots(tenant))("auto")
        assert isinstance(home, SnapshotHome)
        assert isinstance(index, Snapshotted)
        snapshot = home.snapshot(gallery)
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


def expire(database: Database, subject: str, seed: int, ago: timedelta) -> int:
    """A subject of "staff" that expired so long ago; its reference's key."""
    store = database.store("default")
    (reference,) = store.references.add("staff", subject, [new_reference(seed)])
    store.subjects.update("staff", subject, SubjectChange(retention=Retention(expires_at=datetime.now(UTC) - ago)))
    return reference.key


def damage(database: Database, reference: int) -> None:
    """One byte of what is sealed of the subject whose reference has this key."""
    with Transactions(database.engine, "default").writing() as session:
        owner = select(ReferenceRow.subject_key).where(ReferenceRow.key == reference).scalar_subquery()
        row = session.scalars(select(SubjectRow).where(SubjectRow.key == owner)).one()
        assert row.sealed is not None
        row.sealed = row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])


def erasures(database: Database) -> list[tuple[bool, dict[str, Any]]]:
    """What the log says of those that ended: whether it knows of whom, and their outcome."""
    lines = [line.told for line in database.audit("default").lines()]
    ended = [line for line in lines if line["action"] == "erase" and line["outcome"] != {"state": "begun"}]
    return [("subject" in line, line["outcome"]) for line in ended]


def test_a_damaged_row_is_erased_when_it_expires_as_any_other(tenants: Tenants, database: Database) -> None:
    gallery = enrolled(database, "default", 1)
    damaged = expire(database, "bob", 2, ago=timedelta(days=2))
    expire(database, "carl", 3, ago=timedelta(days=1))
    damage(database, damaged)
    tenants.follow(never)
    assert database.store("default").galleries.get("staff").subjects == 1
    assert [index.references for index in tenants.loaded()] == [1]
    gone = {"expired": True, "references": 1, "photographs": 0}
    assert erasures(database) == [(False, gone), (True, gone)]
    assert gallery.references == 1


FORBID = {
    "sqlite": [
        "CREATE TRIGGER kept BEFORE DELETE ON subjects BEGIN SELECT RAISE(ABORT, 'kept') WHERE OLD.key = 2; END"
    ],
    "postgresql": [
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF OLD.key = 2 THEN RAISE ''kept''; END IF; RETURN OLD; END'",
        "CREATE TRIGGER kept BEFORE DELETE ON subjects FOR EACH ROW EXECUTE FUNCTION keep()",
    ],
}
"""The second subject can't be deleted."""


def test_who_can_not_be_erased_stops_nobody_elses_end_and_no_index(tenants: Tenants, database: Database) -> None:
    enrolled(database, "default", 1)
    expire(database, "bob", 2, ago=timedelta(days=2))
    expire(database, "carl", 3, ago=timedelta(days=1))
    store = database.store("default")
    with store.rows.writing() as session:
        for statement in FORBID[database.engine.dialect.name]:
            session.execute(text(statement))
    assert store.answers.claim(Ticket("a" * 64, "b" * 64)) is None
    with store.rows.writing() as session:
        session.execute(update(AnswerRow).values(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(FaceServiceError):
        tenants.follow(never)
    assert [each.subject for each in store.subjects.expired(9)] == ["bob"]
    assert [index.references for index in tenants.loaded()] == [2]  # bob's, too, which answers nothing
    assert rows(store, AnswerRow) == 0
    assert [told for _, told in erasures(database)][1] == {"expired": True, "references": 1, "photographs": 0}


def test_who_takes_the_place_of_one_that_has_expired_says_so_in_the_log(tenants: Tenants, database: Database) -> None:
    enrolled(database, "default", 1)
    service = tenants.of("default").by(Caller(key="k7"))
    gone = {"expired": True, "references": 1, "photographs": 0}
    expire(database, "bob", 2, ago=timedelta(days=1))
    assert service.subjects.create("staff", NewSubject("bob", "Another")).references == 0
    assert erasures(database) == [(True, gone)]
    with pytest.raises(SubjectExists):
        service.subjects.create("staff", NewSubject("bob", "A third"))

    expire(database, "carl", 3, ago=timedelta(days=1))
    service = FaceService(replace(service.resources, extractors=cast(Extractors, OnePhotograph())), service.audit)
    outcome = service.enrolments.enrol(EnrolmentRequest("staff", "carl", [b"a photograph"])).outcomes[0]
    assert outcome.reference is not None
    assert [r.id for r in database.store("default").references.list("staff", "carl", 9).items] == [outcome.reference.id]
    assert erasures(database) == [(True, gone), (True, gone)]
    lines = [(line.told["key"], line.told["action"]) for line in database.audit("default").lines()][-4:]
    assert lines == [("k7", "enrol"), ("k7", "erase"), ("k7", "erase"), ("k7", "enrol")]


class OnePhotograph:
    """Extractors of which every photograph gives one sample."""

    def of(self, template_version: str) -> "OnePhotograph":
        return self

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        return Capture((new_reference(40).sample,), 1, 100, 100, format="JPEG")
