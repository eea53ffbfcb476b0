"""Which lines each use case leaves in the audit log. A new public method without an entry here fails."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest

from drills.faults.access import NEXT_VERSION
from drills.faults.worker import Packs, open_home
from facesvc.bootstrap.database import Database
from facesvc.core.access import Rights, Role
from facesvc.core.types import (
    GalleryChange,
    NewGallery,
    NewSubject,
    Retention,
    SubjectChange,
    Ticket,
)
from facesvc.crypto.master import MasterKey
from facesvc.exchange.reader import GalleryFile
from facesvc.index.galleries import GalleryIndexes
from facesvc.service import FaceService
from facesvc.service.audit import Trail
from facesvc.service.encryption import Encryption
from facesvc.service.enrolment import EnrolmentRequest, Once
from facesvc.service.tenants import Register
from facesvc.storage.engine import open_engine
from tests.support.databases import VERSION, migrated_sqlite, process
from tests.support.galleryfiles import entry, header, write_file
from tests.support.services import make_service

VERIFY = Rights(frozenset({Role.VERIFY}))
EXPIRED = SubjectChange(retention=Retention(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))


@dataclass(frozen=True)
class Scene:
    """A sealed store with a gallery "staff" that keeps photographs, of the subjects "ada" (two) and "bob" (one)."""

    database: Database
    service: FaceService
    folder: Path

    @property
    def reference(self) -> str:
        return self.service.references.list("staff", "ada", 1).items[0].id

    @property
    def key(self) -> str:
        return self.service.api_keys.issue(VERIFY, None).key.id

    def change_model(self, *steps: str) -> None:
        self.service.model_changes.start("staff", NEXT_VERSION)
        for step in steps:
            getattr(self.service.model_changes, step)("staff")

    def import_file(self, gallery: str) -> None:
        write_file(self.folder / "file.parquet", [entry(1, "eve")])
        with closing(GalleryFile(self.folder / "file.parquet")) as file:
            self.service.transfers.import_file(gallery, file, self.service.transfers.reading(file.header, 10**6))

    def lines(self) -> list[str]:
        """Their actions; those before a change are marked."""
        return [
            f"{line.told['action']} begun" if line.told["outcome"] == {"state": "begun"} else line.told["action"]
            for line in self.database.audit("default").lines()
        ]


def request(subject: str, *photographs: bytes) -> EnrolmentRequest:
    return EnrolmentRequest("staff", subject, photographs, strict=False)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    engine = open_engine(migrated_sqlite(tmp_path))
    database = process(engine)
    store = database.store("default")
    service = make_service(Packs(), store, GalleryIndexes(store, open_home(store, None)), database)
    service.galleries.create(NewGallery("staff", True))
    service.enrolments.enrol(request("ada", b"ada 1", b"ada 2"))
    service.enrolments.enrol(request("bob", b"bob 1"))
    yield Scene(database, service, tmp_path)
    engine.dispose()


def nothing(_: Scene) -> None:
    """Needs nothing beforehand."""


@dataclass(frozen=True)
class Case:
    """A use case that is called with what ``before`` gives. none: why it leaves no line."""

    call: Callable[[Scene, object], object]
    lines: tuple[str, ...] = ()
    none: str = ""
    before: Callable[[Scene], object] = nothing


def changes(action: str) -> tuple[str, ...]:
    return f"{action} begun", action


def once(scene: Scene) -> object:
    named = Once(Ticket("a" * 64, "b" * 64), lambda _: b"answered")
    return scene.service.enrolments.enrol_once(named, request("carl", b"carl 1"))


TELLS_OF_NOBODY = "it tells of nobody who is enrolled"
INSIDE = "it is a part of use cases, which leave their own"
OF_A_KEY = "the keys' own lines tell what became of them"
CASES = {
    "Decisions.verify": Case(lambda s, _: s.service.decisions.verify(b"ada 1", b"ada 2"), ("verify",)),
    "Decisions.verify_subject": Case(
        lambda s, _: s.service.decisions.verify_subject(b"ada 3", "staff", "ada"), ("verify",)
    ),
    "Decisions.identify": Case(lambda s, _: s.service.decisions.identify(b"ada 3", "staff"), ("identify",)),
    "Decisions.detect": Case(lambda s, _: s.service.decisions.detect(b"ada 1"), none=TELLS_OF_NOBODY),
    "Decisions.model": Case(lambda s, _: s.service.decisions.model("staff"), none=TELLS_OF_NOBODY),
    "Enrolments.enrol": Case(lambda s, _: s.service.enrolments.enrol(request("carl", b"carl 1")), changes("enrol")),
    "Enrolments.enrol_once": Case(lambda s, _: once(s), changes("enrol")),
    "Expiry.purge": Case(
        lambda s, _: s.service.expiry.purge(),
        changes("erase"),
        before=lambda s: s.service.subjects.update("staff", "ada", EXPIRED),
    ),
    "Expiry.make_place": Case(
        lambda s, _: s.service.expiry.make_place("staff", "ada"),
        changes("erase"),
        before=lambda s: s.service.subjects.update("staff", "ada", EXPIRED),
    ),
    "Expiry.forget_lapsed": Case(lambda s, _: s.service.expiry.forget_lapsed(), none=TELLS_OF_NOBODY),
    "Galleries.list": Case(lambda s, _: s.service.galleries.list(9), none=TELLS_OF_NOBODY),
    "Galleries.get": Case(lambda s, _: s.service.galleries.get("staff"), none=TELLS_OF_NOBODY),
    "Galleries.create": Case(lambda s, _: s.service.galleries.create(NewGallery("guests")), changes("create_gallery")),
    "Galleries.ensure": Case(lambda s, _: s.service.galleries.ensure(NewGallery("guests")), changes("create_gallery")),
    "Galleries.update": Case(
        lambda s, _: s.service.galleries.update("staff", GalleryChange(metadata={"floor": 3})),
        changes("update_gallery"),
    ),
    "Galleries.delete": Case(lambda s, _: s.service.galleries.delete("staff"), changes("delete_gallery")),
    "Subjects.list": Case(lambda s, _: s.service.subjects.list("staff", 9), ("list_subjects",)),
    "Subjects.get": Case(lambda s, _: s.service.subjects.get("staff", "ada"), ("read_subject",)),
    "Subjects.create": Case(
        lambda s, _: s.service.subjects.create("staff", NewSubject("carl")), changes("create_subject")
    ),
    "Subjects.update": Case(
        lambda s, _: s.service.subjects.update("staff", "ada", SubjectChange("Ada")), changes("update_subject")
    ),
    "Subjects.mark_canary": Case(
        lambda s, _: s.service.subjects.mark_canary("staff", "ada", True), changes("mark_canary")
    ),
    "Subjects.delete": Case(lambda s, _: s.service.subjects.delete("staff", "ada"), changes("delete_subject")),
    "Subjects.erase": Case(lambda s, _: s.service.subjects.erase("staff", "ada"), changes("erase")),
    "SubjectExports.archive": Case(
        lambda s, _: list(s.service.subject_exports.archive("staff", "ada")), ("export_subject",)
    ),
    "References.list": Case(lambda s, _: s.service.references.list("staff", "ada", 9), ("list_references",)),
    "References.get": Case(
        lambda s, known: s.service.references.get("staff", "ada", str(known)),
        ("read_reference",),
        before=lambda s: s.reference,
    ),
    "References.photograph": Case(
        lambda s, known: s.service.references.photograph("staff", "ada", str(known)),
        ("read_photograph",),
        before=lambda s: s.reference,
    ),
    "References.delete": Case(
        lambda s, known: s.service.references.delete("staff", "ada", str(known)),
        changes("delete_reference"),
        before=lambda s: s.reference,
    ),
    "ModelChanges.start": Case(
        lambda s, _: s.service.model_changes.start("staff", NEXT_VERSION), changes("start_model_change")
    ),
    "ModelChanges.run": Case(
        lambda s, _: s.service.model_changes.run("staff"), none=INSIDE, before=lambda s: s.change_model()
    ),
    "ModelChanges.agreement": Case(
        lambda s, _: s.service.model_changes.agreement("staff"),
        none=TELLS_OF_NOBODY,
        before=lambda s: s.change_model("run"),
    ),
    "ModelChanges.left_behind": Case(
        lambda s, _: s.service.model_changes.left_behind("staff", 9),
        none="an administrator learns what a change would lose; nobody's face is asked for",
        before=lambda s: s.change_model(),
    ),
    "ModelChanges.cut_over": Case(
        lambda s, _: s.service.model_changes.cut_over("staff"),
        changes("cut_over"),
        before=lambda s: s.change_model("run"),
    ),
    "ModelChanges.roll_back": Case(
        lambda s, _: s.service.model_changes.roll_back("staff"),
        changes("roll_back"),
        before=lambda s: s.change_model("run", "cut_over"),
    ),
    "ModelChanges.finish": Case(
        lambda s, _: s.service.model_changes.finish("staff"),
        changes("finish_model_change"),
        before=lambda s: s.change_model("run", "cut_over"),
    ),
    "ModelChanges.abandon": Case(
        lambda s, _: s.service.model_changes.abandon("staff"),
        changes("abandon_model_change"),
        before=lambda s: s.change_model(),
    ),
    "Transfers.export": Case(lambda s, _: s.service.transfers.export("staff", BytesIO()), ("export_gallery",)),
    "Transfers.reading": Case(lambda s, _: s.service.transfers.reading(header(), 10**6), none=TELLS_OF_NOBODY),
    "Transfers.import_file": Case(
        lambda s, _: s.import_file("guests"),  # into a new gallery
        ("import_gallery begun", *changes("create_gallery"), "import_gallery"),
    ),
    "TenantApiKeys.list": Case(lambda s, _: s.service.api_keys.list(), none=TELLS_OF_NOBODY),
    "TenantApiKeys.get": Case(
        lambda s, key: s.service.api_keys.get(str(key)), none=TELLS_OF_NOBODY, before=lambda s: s.key
    ),
    "TenantApiKeys.issue": Case(lambda s, _: s.service.api_keys.issue(VERIFY, None), changes("create_api_key")),
    "TenantApiKeys.issue_first": Case(lambda s, _: s.service.api_keys.issue_first(), ("create_api_key",)),
    "TenantApiKeys.rotate": Case(
        lambda s, key: s.service.api_keys.rotate(str(key), timedelta(hours=1), None),
        changes("rotate_api_key"),
        before=lambda s: s.key,
    ),
    "TenantApiKeys.revoke": Case(
        lambda s, key: s.service.api_keys.revoke(str(key)), changes("revoke_api_key"), before=lambda s: s.key
    ),
    "Register.ping": Case(lambda s, _: s.database.register.ping(), none=TELLS_OF_NOBODY),
    "Register.tenants": Case(lambda s, _: s.database.register.tenants(), none=TELLS_OF_NOBODY),
    "Register.ids": Case(lambda s, _: s.database.register.ids(), none=TELLS_OF_NOBODY),
    "Register.find": Case(lambda s, _: s.database.register.find("default"), none=TELLS_OF_NOBODY),
    "Register.create": Case(lambda s, _: s.database.register.create("acme"), changes("create_tenant")),
    "Register.delete": Case(
        lambda s, _: s.database.register.delete(s.database.register.find("acme")),
        changes("delete_tenant"),
        before=lambda s: s.database.register.create("acme"),
    ),
    "Encryption.rotate_data_key": Case(
        lambda s, _: list(s.database.encryption("default").rotate_data_key()), changes("rotate_data_key")
    ),
    "Encryption.reissue": Case(
        lambda s, _: s.database.encryption("default").reissue("staff"), changes("reissue_templates")
    ),
    "Encryption.data_keys": Case(lambda s, _: s.database.encryption("default").data_keys(), none=TELLS_OF_NOBODY),
    "rotate_master": Case(
        lambda s, _: s.database.rotate_master(MasterKey(bytes([7] * 32))), changes("rotate_master_key")
    ),
}
FUNCTIONS = {"rotate_master"}
"""Use cases that are no methods."""


def use_cases(service: FaceService) -> set[str]:
    """All public methods of what ``service`` is composed of, and of what there is beside it."""
    parts = {type(part) for part in vars(service).values() if type(part).__module__.startswith("facesvc.service.")}
    return {
        f"{kind.__name__}.{name}"
        for kind in (*(parts - {Trail}), Register, Encryption)
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_use_case_is_listed(scene: Scene) -> None:
    assert use_cases(scene.service) == CASES.keys() - FUNCTIONS
    assert [name for name, case in CASES.items() if bool(case.lines) == bool(case.none)] == []


@pytest.mark.parametrize("name", CASES)
def test_lines_of_a_use_case(name: str, scene: Scene) -> None:
    case = CASES[name]
    given = case.before(scene)
    before = scene.lines()
    case.call(scene, given)
    assert tuple(scene.lines()[len(before) :]) == case.lines


def test_a_request_that_is_repeated_is_one_line(scene: Scene) -> None:
    once(scene)
    before = scene.lines()
    once(scene)
    assert scene.lines()[len(before) :] == ["enrol"]


def test_an_import_into_a_gallery_that_is_there_makes_none(scene: Scene) -> None:
    before = scene.lines()
    scene.import_file("staff")
    assert scene.lines()[len(before) :] == ["import_gallery begun", "import_gallery"]
    assert scene.service.galleries.get("staff").template_version == VERSION
