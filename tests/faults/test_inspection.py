"""The inspection finds each kind of violation: every one is committed here behind the service's back."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from drills.faults.access import NEXT_VERSION, Direct
from drills.faults.activities import ACTIVITIES
from drills.faults.inspection import inspect, misled
from drills.faults.journal import History, Journal, replay
from drills.faults.worker import open_service
from drills.faults.world import SHARED, World
from facesvc.core.types import Gallery, NewGallery, NewSubject, SubjectChange
from facesvc.crypto.codec import Codec
from facesvc.service import FaceService
from facesvc.storage.engine import open_engine
from facesvc.storage.sealing import gallery_token, subject_token
from tests.support.databases import VERSION, migrated_sqlite, open_codec


class Scene:
    """A database in which ada has photographs 1 and 2, bob 3; 4 was ada's and is deleted. All is journalled."""

    def __init__(self, url: str, folder: Path, service: FaceService) -> None:
        self.url, self.service, self.access, self.start = url, service, Direct(service), World.new("w0")
        self.world, self.path = deepcopy(self.start), folder / "journal"
        self.journal = Journal(self.path)
        service.resources.store.galleries.create(NewGallery(SHARED, True), VERSION)
        self.do("Enrol", gallery=SHARED, person="w0-ada", photographs=["w0 1", "w0 2"], key="k")
        self.do("Enrol", gallery=SHARED, person="w0-bob", photographs=["w0 3"])
        self.do("Enrol", gallery=SHARED, person="w0-ada", photographs=["w0 4"])
        self.deleted = self.ids()["w0 4"]
        engine = create_engine(url)
        self.tokens = tokens(open_codec(engine), service.resources.store.galleries.get(SHARED))
        engine.dispose()
        self.damage(
            "CREATE TABLE deleted AS SELECT * FROM face_references WHERE key = 4",
            "CREATE TABLE removed AS SELECT * FROM templates WHERE reference_key = 4",
        )
        self.do("DeleteReference", gallery=SHARED, person="w0-ada", photograph="w0 4", reference=self.ids()["w0 4"])

    def do(self, activity: str, **request: Any) -> None:
        request |= {"used": 4}
        self.journal.asks(activity, request)
        answer = ACTIVITIES[activity].perform(self.access, request)
        self.journal.answered(answer)
        assert ACTIVITIES[activity].apply(self.world, request, answer) == []

    def ids(self) -> dict[str, str | None]:
        return {name: i for p in self.world.places[SHARED].people.values() for name, i in p.references.items()}

    def history(self) -> History:
        return replay(self.path, self.start)

    def violations(self) -> list[str]:
        return inspect(self.url, [self.history()]).violations

    def damage(self, *statements: str) -> None:
        """Behind the back of the service and of the constraints."""
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")  # plain: SQLite's constraints are off
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()


def tokens(codec: Codec, gallery: Gallery) -> dict[str, str]:
    """What the rows of the gallery and its subjects have in place of their names."""
    subjects = {name: subject_token(codec, gallery.key, name) for name in ("w0-ada", "w0-bob")}
    return {SHARED: gallery_token(codec, gallery.name), **subjects}


@pytest.fixture
def scene(url: str, tmp_path: Path) -> Iterator[Scene]:
    with open_service(open_engine(url)) as service:
        yield Scene(url, tmp_path, service)


def test_nothing_is_wrong(scene: Scene) -> None:
    findings = inspect(scene.url, [scene.history()])
    assert findings.violations == []
    assert findings.worlds == [scene.world]
    assert list(misled(scene.service)) == []


DAMAGE = {
    "a reference is lost": (
        ["DELETE FROM face_references WHERE id = '{w0 3}'"],
        [
            "shared/w0-bob: reference of w0 3 was acknowledged and is not there",
            "gallery {shared} counts [2, 3] subjects and references, has [2, 2]",
            "subject {w0-bob} counts 1 references, has 0",
            "1 rows of templates have no owner in face_references",
        ],
    ),
    "a template is lost": (
        ["DELETE FROM templates WHERE reference_key = 3"],
        [
            "shared/w0-bob: no template of w0 3",
            "gallery {shared} counts templates {'sha256:test': 3}, has {'sha256:test': 2}",
            "template sha256:test of reference 3 is in the log alone",
        ],
    ),
    "a template is of a version that its gallery does not hold": (
        ["UPDATE templates SET template_version = 'sha256:other' WHERE reference_key = 3"],
        [
            "gallery {shared} counts templates {'sha256:test': 3}, has {",
            "template sha256:other of reference 3 is in the rows alone",
        ],
    ),
    "a subject is lost": (
        ["DELETE FROM subjects WHERE id = '{w0-bob}'"],
        [
            "shared: person w0-bob was acknowledged and is not there",
            "1 rows of face_references have no owner in subjects",
        ],
    ),
    "a gallery is lost": (
        ["DELETE FROM galleries"],
        ["gallery shared was acknowledged and is not there", "rows of subjects have no owner in galleries"],
    ),
    "a reference changed its subject": (
        ["UPDATE face_references SET subject_key = 2 WHERE id = '{w0 1}'"],
        [
            "shared/w0-bob: what is stored of reference {w0 1} was changed, moved",
            "index of shared can't be compared: what is stored of ",
            "subject {w0-ada} counts 2 references, has 1",
        ],
    ),
    "a reference changed its id": (
        ["UPDATE face_references SET id = 'ref_0' WHERE id = '{w0 1}'"],
        ["shared/w0-ada: what is stored of reference ref_0 was changed, moved"],
    ),
    "a template is another's": (
        ["UPDATE templates SET vector = (SELECT vector FROM templates WHERE reference_key = 3)"],
        ["shared/w0-ada: what is stored of vector {w0 1} sha256:test was changed, moved"],
    ),
    "a photograph is lost": (
        ["DELETE FROM photographs"],
        ["shared/w0-bob: no photograph of w0 3", "reference {w0 3} says has_photograph True, and has none"],
    ),
    "a photograph is damaged": (
        ["UPDATE photographs SET content = (SELECT sealed FROM face_references WHERE id = '{w0 3}')"],
        ["shared/w0-bob: a damaged photograph of w0 3"],
    ),
    "a photograph is kept unsaid": (
        ["UPDATE face_references SET has_photograph = false WHERE id = '{w0 3}'"],
        [
            "shared/w0-bob: photograph w0 3 was acknowledged and is not there",
            "reference {w0 3} says has_photograph False, and has one",
        ],
    ),
    "a gallery counts wrongly": (
        ["UPDATE galleries SET subjects = 3"],
        ["gallery {shared} counts [3, 3] subjects and references, has [2, 3]"],
    ),
    "the log lost an addition": (
        ["DELETE FROM revisions WHERE revision = 2"],
        ["is in the rows alone"],
    ),
    "the log is ahead": (
        ["UPDATE galleries SET revision = 2"],
        ["the log is at revision 3 of gallery", "the log is at revision 4 of gallery"],
    ),
    "another tenant's": (
        ["UPDATE photographs SET tenant = 'other'"],
        ["3 rows of photographs have no owner in face_references"],
    ),
}  # fmt: skip
"""What is done to the database, and what must be said of it (besides what follows from it)."""


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_reported(scene: Scene, name: str) -> None:
    statements, expected = DAMAGE[name]
    scene.damage(*(filled(statement, scene) for statement in statements))
    found = scene.violations()
    assert [wanted for wanted in expected if not any(filled(wanted, scene) in wrong for wrong in found)] == [], found


def test_a_subject_that_was_not_acknowledged_is_reported(scene: Scene) -> None:
    scene.service.resources.store.subjects.create(SHARED, NewSubject("eve"))
    assert "shared/eve is nobody's" in scene.violations()


def test_a_name_that_was_not_acknowledged_is_reported(scene: Scene) -> None:
    scene.service.resources.store.subjects.update(SHARED, "w0-ada", SubjectChange("Mallory"))
    assert any("shared/w0-ada is called 'Mallory' {}, not None" in wrong for wrong in scene.violations())


def filled(template: str, scene: Scene) -> str:
    """With the references' ids in place of "{photograph}", and the tokens of galleries and subjects."""
    for name, public_id in {**scene.ids(), **scene.tokens}.items():
        template = template.replace(f"{{{name}}}", str(public_id))
    return template


def test_a_deleted_reference_that_answers_is_reported(scene: Scene) -> None:
    scene.damage("INSERT INTO face_references SELECT * FROM deleted", "INSERT INTO templates SELECT * FROM removed")
    found = scene.violations()
    assert "shared/w0-ada: reference of w0 4 is there and ought not to be" in found
    assert f"shared/w0-ada: {scene.deleted} was deleted and answers to get" in found
    assert "template sha256:test of reference 4 is in the rows alone" in found


def test_a_request_in_flight_is_done_wholly_or_not_at_all(scene: Scene) -> None:
    request = {"gallery": SHARED, "person": "w0-eve", "photographs": ["w0 5", "w0 6"], "used": 6}
    scene.journal.asks("Enrol", request)
    assert scene.history().in_flight == "Enrol"
    assert scene.violations() == []  # not at all
    first, _ = scene.access.enrol(SHARED, "w0-eve", ["w0 5", "w0 6"], None)
    assert scene.violations() == []  # wholly
    scene.access.delete_reference(SHARED, "w0-eve", first)
    assert scene.violations() == ["shared: person w0-eve is there and ought not to be (in flight: Enrol)"]  # by half


def test_an_index_that_is_not_the_database_is_reported(scene: Scene) -> None:
    assert list(misled(scene.service)) == []  # it is loaded now
    scene.damage("DELETE FROM templates WHERE reference_key = 3")
    assert list(misled(scene.service)) == ["index of shared holds [1, 2, 3], the rows are [1, 2]"]


def test_a_change_of_model_that_lost_somebody_is_reported(scene: Scene) -> None:
    """In standby everybody has templates of both versions, each its own."""
    changes = scene.service.model_changes
    changes.start(SHARED, NEXT_VERSION)
    changes.run(SHARED)
    changes.cut_over(SHARED)
    assert scene.violations() == []
    scene.damage(
        "DELETE FROM templates WHERE reference_key = 3 AND template_version = 'sha256:test'",
        "UPDATE templates SET vector = (SELECT vector FROM templates WHERE reference_key = 1 "
        "AND template_version = 'sha256:next') WHERE reference_key = 1 AND template_version = 'sha256:test'",
    )
    found = scene.violations()
    assert "shared could not be rolled back: 2 of 3 templates are there" in found
    assert any(f"shared: what is stored of vector {scene.ids()['w0 1']} sha256:test" in wrong for wrong in found)
    assert any(
        wrong.startswith(filled("gallery {shared} counts templates {'sha256:next': 3, 'sha256:test': 3}", scene))
        for wrong in found
    )


def test_answers_that_are_not_true_are_reported(scene: Scene) -> None:
    ids = scene.ids()
    wrong = {
        "Search": (
            {"gallery": SHARED, "photograph": "w0 3"},
            {"candidates": [["w0-ada", 0.0, ids["w0 1"]], ["w0-bob", 0.5, "ref_0"]]},
            ["search answered w0-bob with ref_0, deleted", "search for w0 3 found ['w0-ada'], not ['w0-bob']"],
        ),
        "Enrol": (
            {"gallery": SHARED, "person": "w0-bob", "photographs": ["w0 3"], "used": 4},
            {"references": ["ref_0"]},
            [f"w0 3 enrolled again is ref_0, was {ids['w0 3']}"],
        ),
        "Repeat": (
            {"gallery": SHARED, "person": "w0-bob", "photographs": ["w0 3"]},
            {"references": ["ref_0"]},
            [f"repeated, ['w0 3'] are ['ref_0'], were ['{ids['w0 3']}']"],
        ),
        "ReadPhotograph": ({"photograph": "w0 3"}, {"intact": False}, ["photograph w0 3 is damaged"]),
    }
    for activity, (request, answer, said) in wrong.items():
        assert ACTIVITIES[activity].apply(deepcopy(scene.world), request, answer) == said


def test_a_worker_that_failed_is_reported(scene: Scene) -> None:
    scene.journal.failed("StoreUnavailable")
    assert scene.violations() == ["w0 failed: StoreUnavailable"]


def test_a_line_that_was_being_written_says_nothing(scene: Scene) -> None:
    whole = scene.history()
    with scene.path.open("a") as journal:
        journal.write('{"asked": "Enr')
    assert scene.history() == whole


def test_damage_to_the_file_is_reported(tmp_path: Path) -> None:
    url = migrated_sqlite(tmp_path)
    with open_service(open_engine(url)) as service:
        scene = Scene(url, tmp_path, service)
        scene.damage("PRAGMA writable_schema = ON", "UPDATE sqlite_master SET rootpage = 2 WHERE name = 'photographs'")
        assert any(wrong.startswith("integrity_check: ") for wrong in scene.violations())
