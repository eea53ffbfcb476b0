"""Erasures from their deletion to the receipt, whatever comes between: an index that is away, a process that dies."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection, event, select, update

from facesvc.bootstrap.database import Database, open_database
from facesvc.config import Settings
from facesvc.core.access import Caller
from facesvc.core.audit import canonical
from facesvc.core.erasure import ErasureReceipt
from facesvc.core.ports import Extractor
from facesvc.core.types import NewGallery, Receipt, Reference, Ticket
from facesvc.crypto.envelope import require_signed
from facesvc.errors import IndexUnavailable, SubjectNotFound
from facesvc.index.flat import FlatIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import InMemory, MemoryHome, PlacedIndex
from facesvc.pipeline.packs import LoadedPacks
from facesvc.service import FaceService
from facesvc.storage.store import Store
from facesvc.storage.tables import ErasureRow, Table
from tests.contract.values import JPEG, rows
from tests.support.databases import VERSION, new_reference
from tests.support.services import make_service

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TICKET = Ticket("a" * 64, "b" * 64)


class Away(MemoryHome):
    """An engine that ``failure`` keeps from being asked, until there is none."""

    failure: BaseException | None = None

    def __init__(self) -> None:
        super().__init__(FlatIndex)

    def open(self, gallery: object) -> InMemory:
        return InMemory(FlatIndex())

    def update_files(self, gallery: object, kept: PlacedIndex | None) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def database(url: str, tmp_path: Path) -> Iterator[Database]:
    """With a gallery "staff" that keeps photographs."""
    with open_database(Settings(data=tmp_path, database_url=url)) as opened:
        opened.store("default").galleries.create(NewGallery("staff", True), VERSION)
        yield opened


@pytest.fixture
def home() -> Away:
    return Away()


@pytest.fixture
def service(database: Database, home: Away) -> FaceService:
    return process(database, home)


@pytest.fixture
def other(database: Database) -> FaceService:
    """Another process's, whose index answers."""
    return process(database, MemoryHome(FlatIndex))


def process(database: Database, home: MemoryHome) -> FaceService:
    store, packs = database.store("default"), LoadedPacks(cast(Extractor, None))
    return make_service(packs, store, GalleryIndexes(store, home), database)


def enrolled(service: FaceService, *seeds: int, subject: str = "ada") -> list[Reference]:
    new = [new_reference(seed, photograph=JPEG if seed == 1 else None) for seed in seeds]
    return service.resources.store.references.add("staff", subject, new)


def told(service: FaceService) -> list[object]:
    return [line.told["outcome"] for line in service.audit.lines()]


def verify(receipt: ErasureReceipt) -> None:
    require_signed(canonical(receipt.statement), receipt.signature.value, receipt.signature.public_key)


def in_time(service: FaceService) -> None:
    """All that is kept for a while is kept no longer."""
    store = cast(Store, service.resources.store)
    with store.rows.writing() as session:
        session.execute(update(ErasureRow).values(expires_at=LONG_AGO))


@pytest.mark.parametrize("failure", [IndexUnavailable("away"), OSError("no space"), KeyboardInterrupt("killed")])
def test_an_erasure_that_was_cut_off_gives_its_receipt(
    service: FaceService, other: FaceService, home: Away, failure: BaseException
) -> None:
    stored = enrolled(service, 1, 2)
    home.failure = failure
    for _ in range(2):
        with pytest.raises(type(failure)):
            service.subjects.erase("staff", "ada")
    with pytest.raises(SubjectNotFound):
        service.resources.store.subjects.get("staff", "ada")

    made = other.by(Caller(key="k2")).subjects.erase("staff", "ada")
    verify(made)
    assert (made.statement["gallery"], made.statement["subject"], made.statement["key"]) == ("staff", "ada", "k2")
    assert (made.statement["references"], made.statement["photographs"]) == ([r.id for r in stored], 1)
    assert made.statement["remaining"] == {"database": 0, "snapshots": 0}
    (end,) = other.audit.lines(made.statement["audit"]["sequence"] - 1)
    assert (end.told["outcome"], end.digest.hex()) == (
        {"references": 2, "photographs": 1},
        made.statement["audit"]["digest"],
    )


def test_the_same_receipt_is_given_for_a_day(service: FaceService, other: FaceService) -> None:
    enrolled(service, 1)
    made = service.subjects.erase("staff", "ada")
    assert other.by(Caller(key="another")).subjects.erase("staff", "ada") == made
    assert told(service)[-2:] == [{"state": "begun"}, {"repeated": True}]
    service.resources.store.answers.forget_lapsed()
    assert service.subjects.erase("staff", "ada") == made
    in_time(service)
    with pytest.raises(SubjectNotFound):
        service.subjects.erase("staff", "ada")
    service.resources.store.answers.forget_lapsed()
    assert rows(cast(Store, service.resources.store), ErasureRow) == 0


def test_one_of_several_at_once_makes_the_receipt(service: FaceService) -> None:
    enrolled(service, 1, 2)
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: service.subjects.erase("staff", "ada"), range(4))
    verify(first)
    assert others == [first] * 3


def test_who_is_enrolled_anew_before_the_end_is_erased_with_what_was_there(service: FaceService, home: Away) -> None:
    """One statement of all that was deleted, whoever asked for it first."""
    (before,) = enrolled(service, 1)
    home.failure = IndexUnavailable()
    with pytest.raises(IndexUnavailable):
        service.subjects.erase("staff", "ada")
    (after,) = enrolled(service, 2)
    assert service.resources.store.subjects.get("staff", "ada").references == 1
    home.failure = None
    made = service.subjects.erase("staff", "ada")
    assert (made.statement["references"], made.statement["photographs"]) == ([before.id, after.id], 1)
    assert service.subjects.erase("staff", "ada") == made


def test_who_is_enrolled_anew_after_the_receipt_is_erased_anew(service: FaceService) -> None:
    enrolled(service, 1)
    first = service.subjects.erase("staff", "ada")
    (after,) = enrolled(service, 2)
    second = service.subjects.erase("staff", "ada")
    assert (second.statement["references"], second.statement["photographs"]) == ([after.id], 0)
    assert service.subjects.erase("staff", "ada") == second != first


def test_an_erasure_is_its_gallerys_and_its_tenants(service: FaceService, database: Database) -> None:
    enrolled(service, 1)
    service.resources.store.galleries.create(NewGallery("guests"), VERSION)
    service.subjects.erase("staff", "ada")
    for asked in (
        lambda: service.subjects.erase("guests", "ada"),
        lambda: service.subjects.erase("staff", "ADA"),
        lambda: service.by(Caller(galleries=frozenset({"guests"}))).subjects.erase("guests", "ada"),
    ):
        with pytest.raises(SubjectNotFound):
            asked()
    service.resources.store.galleries.delete("staff")
    assert rows(cast(Store, service.resources.store), ErasureRow) == 0


def test_what_is_kept_of_an_erasure_names_nobody(database: Database) -> None:
    """Neither does anything by which a guess could be tried: no signature, no plain digest."""
    store = database.store("default")
    store.galleries.create(NewGallery("visitors"), VERSION)
    store.references.add("visitors", "Ada Lovelace", [new_reference(1)])
    erasure = store.erasures.begin("visitors", "Ada Lovelace")
    store.erasures.finish(erasure, {"kind": "a statement"})
    with store.rows.reading() as session:
        row = session.scalars(select(ErasureRow)).one()
        kept = repr({column.key: getattr(row, column.key) for column in ErasureRow.__table__.c})
        home = row.gallery_key
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in (f"{home} Ada Lovelace", "Ada Lovelace")]
    assert [secret for secret in ("Lovelace", "visitors", *digests) if secret in kept] == []


def test_rows_that_were_left_are_counted_by_their_keys(database: Database, service: FaceService) -> None:
    """Without cascades, every row but the subject's own stays; none of them can be joined with it any more."""
    database.store("default").answers.claim(TICKET)
    new = [new_reference(1, photograph=JPEG), new_reference(2)]
    service.resources.store.references.add("staff", "ada", new, Receipt(TICKET, lambda _: b"told"))
    enrolled(service, 3, subject="bob")
    with without_cascades(database):
        erasure = service.resources.store.erasures.begin("staff", "ada")
    assert (
        service.resources.store.erasures.remaining(erasure) == 6
    )  # two references, two templates, a photograph, an answer
    assert service.subjects.erase("staff", "ada").statement["remaining"] == {"database": 6, "snapshots": 0}


class without_cascades:  # noqa: N801  reads as a statement
    """Foreign keys do nothing on the connections made within."""

    def __init__(self, database: Database) -> None:
        self.engine = database.engine

    def __enter__(self) -> None:
        self.engine.dispose()
        event.listen(self.engine, "begin", self._off)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", self._off_sqlite)

    def __exit__(self, *_: object) -> None:
        event.remove(self.engine, "begin", self._off)
        if self.engine.dialect.name == "sqlite":
            event.remove(self.engine, "connect", self._off_sqlite)
        self.engine.dispose()

    @staticmethod
    def _off(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")

    @staticmethod
    def _off_sqlite(connection: object, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[attr-defined]


def test_every_column_that_names_a_subject_or_a_reference_is_looked_into() -> None:
    """By its foreign key; but for the log from which indexes learn what to forget."""
    named = [column for table in Table.metadata.tables.values() for column in table.c]
    named = [column for column in named if column.name in ("subject_key", "reference_key")]
    assert len(named) == 7
    assert [column.table.name for column in named if not column.foreign_keys] == ["revisions"]
