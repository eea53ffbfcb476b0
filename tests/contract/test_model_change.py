"""A gallery that moves from one template version to another, by values, on every database."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from facesvc.core.types import (
    Capture,
    FaceChoice,
    Gallery,
    NewGallery,
    NewReference,
    Sample,
    Shadow,
    ShadowState,
    Template,
    Vectors,
)
from facesvc.errors import (
    GalleryNotFound,
    ModelChangeConflict,
    ModelChangeIncomplete,
    NoFace,
    PackNotFound,
    RequestError,
    SubjectNotFound,
    TemplateVersionMismatch,
)
from facesvc.index.exact import ExactIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import MemoryHome
from facesvc.pipeline.packs import LoadedPacks
from facesvc.service import FaceService
from facesvc.service.enrolment import EnrolmentRequest
from facesvc.service.model_changes import ModelChanges
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.store import Store
from tests.contract.values import paged
from tests.support.databases import VERSION, new_reference, unit_vectors
from tests.support.services import make_service

NEXT = "sha256:next"
FILLING, STANDBY, LEAVING = ShadowState


class Seeded:
    """core.ports.Extractor whose photographs are seeds, as text; each version has vectors of its own. Of seeds over 90
    it finds no face."""

    title, norm, calibration = "Seeded", 1.0, None

    def __init__(self, version: str, pack: str, threshold: float) -> None:
        self.template_version, self.pack, self.threshold = version, pack, threshold

    def vector(self, seed: int) -> Vectors:
        return unit_vectors(1, seed + (0 if self.template_version == VERSION else 10**6))[0]

    def detect(self, photograph: bytes) -> Capture:
        return self.extract(photograph, FaceChoice.ALL)

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        seed = int(photograph)
        if seed > 90 and self.template_version == NEXT:
            raise NoFace("none")
        known = replace(new_reference(seed).sample.face, box=np.array([10, 10, 60, 70], np.float32))
        template = Template(self.vector(seed), self.template_version)
        return Capture((replace(new_reference(0).sample, face=known, template=template),), 1, 640, 480, format="JPEG")


OLD, NEW = Seeded(VERSION, "old", 1.1), Seeded(NEXT, "new", 0.9)


class Both(LoadedPacks):
    """Both packs are here."""

    def __init__(self) -> None:
        super().__init__(OLD)

    def of(self, template_version: str) -> Seeded:  # type: ignore[override]
        return {VERSION: OLD, NEXT: NEW}[template_version]

    def version_of(self, pack: str) -> str:
        if pack not in ("old", "new"):
            raise PackNotFound(f"there is no pack {pack!r}")
        return NEXT if pack == "new" else VERSION


@pytest.fixture
def service(store: Store) -> FaceService:
    store.galleries.create(NewGallery("album", True), VERSION)
    return make_service(Both(), store, GalleryIndexes(store, MemoryHome(ExactIndex)))


@pytest.fixture
def changes(service: FaceService) -> ModelChanges:
    return service.model_changes


def enrol(service: FaceService, subject: str, *seeds: int, gallery: str = "album") -> list[str]:
    photographs = [str(seed).encode() for seed in seeds]
    done = service.enrolments.enrol(EnrolmentRequest(gallery, subject, photographs, strict=False))
    return [outcome.reference.id for outcome in done.outcomes if outcome.reference]


def held(service: FaceService, version: str, gallery: str = "album") -> dict[int, bytes]:
    """Every template of a version that an index would take over from the start."""
    home = service.resources.store.galleries.get(gallery).of(version)
    found = service.resources.store.search.vectors(
        home, service.resources.store.revisions.changes(home, 0).added.tolist()
    )
    return {key: vector.tobytes() for key, vector in found.items()}


def vectors(pack: Seeded, seeds: Sequence[int]) -> dict[int, bytes]:
    """Of references that were enrolled in this order into an empty database."""
    return {key: pack.vector(seed).tobytes() for key, seed in enumerate(seeds, 1)}


def nearest(service: FaceService, seed: int, gallery: str = "album") -> tuple[str, float, str, float]:
    """Subject and distance, version and threshold of an identification."""
    answer = service.decisions.identify(str(seed).encode(), gallery, 1)
    found = answer.faces[0].candidates[0]
    return found.subject, found.distance, answer.threshold.template_version, answer.threshold.value


def shadow(gallery: Gallery) -> tuple[str, Shadow | None]:
    return gallery.template_version, gallery.shadow


def test_a_gallery_moves_and_comes_back_and_moves(service: FaceService, changes: ModelChanges) -> None:
    enrol(service, "ada", 1, 2)
    enrol(service, "bob", 3)
    assert shadow(changes.start("album", "new")) == (VERSION, Shadow(NEXT, FILLING, 0))
    assert shadow(changes.start("album", "new")) == (VERSION, Shadow(NEXT, FILLING, 0))
    enrol(service, "eve", 4)  # by both
    assert shadow(service.resources.store.galleries.get("album")) == (VERSION, Shadow(NEXT, FILLING, 1))
    with pytest.raises(ModelChangeIncomplete, match=f"3 references have no template of {NEXT}"):
        changes.cut_over("album")
    told: list[int] = []
    assert shadow(changes.run("album", told.append)) == (VERSION, Shadow(NEXT, FILLING, 4))
    assert told == [3]
    assert held(service, VERSION) == vectors(OLD, [1, 2, 3, 4])
    assert held(service, NEXT) == vectors(NEW, [1, 2, 3, 4])
    assert nearest(service, 3) == ("bob", 0.0, VERSION, 1.1)

    assert shadow(changes.cut_over("album")) == (NEXT, Shadow(VERSION, STANDBY, 4))
    assert nearest(service, 3) == ("bob", 0.0, NEXT, 0.9)
    enrol(service, "fay", 5)
    assert shadow(changes.roll_back("album")) == (VERSION, Shadow(NEXT, FILLING, 5))
    assert nearest(service, 5) == ("fay", 0.0, VERSION, 1.1)
    service.resources.store.subjects.delete("album", "ada")
    assert shadow(changes.cut_over("album")) == (NEXT, Shadow(VERSION, STANDBY, 3))
    assert nearest(service, 5) == ("fay", 0.0, NEXT, 0.9)
    assert shadow(changes.finish("album")) == (NEXT, None)
    assert held(service, VERSION) == {}
    assert held(service, NEXT) == {key: NEW.vector(key).tobytes() for key in (3, 4, 5)}
    assert nearest(service, 4) == ("eve", 0.0, NEXT, 0.9)


def test_versions_are_never_compared(service: FaceService, changes: ModelChanges) -> None:
    """Every distance is that of the version's own vectors, before and after."""
    enrol(service, "ada", 1)
    changes.start("album", "new")
    changes.run("album")
    for pack in (OLD, NEW):
        wanted = float(np.square(pack.vector(7).astype(float) - pack.vector(1).astype(float)).sum())
        assert nearest(service, 7)[1:] == (pytest.approx(wanted, abs=1e-12), pack.template_version, pack.threshold)
        one = service.decisions.verify_subject(b"7", "album", "ada")
        assert (one.distance, one.threshold.template_version) == (
            pytest.approx(wanted, abs=1e-12),
            pack.template_version,
        )
        if pack is OLD:
            changes.cut_over("album")


def test_who_is_left_behind_is_told(service: FaceService, changes: ModelChanges) -> None:
    store = service.resources.store
    (faceless,) = enrol(service, "ada", 95)
    (kept,) = enrol(service, "ada", 1)
    store.references.add("album", "bob", [new_reference(2)])
    (bare,) = (reference.id for reference in store.references.list("album", "bob", 9).items)
    changes.start("album", "new")
    assert [left.code for left in changes.left_behind("album", 9).items] == [None, None, "photograph_not_found"]
    assert shadow(changes.run("album")) == (VERSION, Shadow(NEXT, FILLING, 1))
    listed = paged(lambda cursor: changes.left_behind("album", 1, cursor), lambda left: left)
    told = [(left.subject, left.reference, left.code) for left in listed]
    assert told == [("ada", faceless, "no_face"), ("bob", bare, "photograph_not_found")]
    with pytest.raises(ModelChangeIncomplete, match="2 references"):
        changes.cut_over("album")
    assert changes.cut_over("album", leave_behind=True).templates == 1
    changes.finish("album")
    assert [left.reference for left in changes.left_behind("album", 9).items] == [faceless, bare]
    assert [r.has_template for r in store.references.list("album", "ada", 9).items] == [False, True]
    with pytest.raises(SubjectNotFound, match="left behind by a model change: enrol it again"):
        service.decisions.verify_subject(b"2", "album", "bob")
    answer = service.decisions.identify(b"1", "album")
    assert (answer.references, [c.reference for c in answer.faces[0].candidates]) == (1, [kept])
    store.references.add("album", "bob", [replace(new_reference(2), sample=_sample(NEW, 2))])
    assert [(r.id, r.has_template) for r in store.references.list("album", "bob", 9).items] == [(bare, True)]
    assert store.galleries.get("album").templates == 2


def _sample(pack: Seeded, seed: int) -> Sample:
    return replace(new_reference(seed).sample, template=Template(pack.vector(seed), pack.template_version))


def test_a_change_that_is_abandoned_and_begun_anew(service: FaceService, changes: ModelChanges) -> None:
    """What was deleted in between is in neither index: one followed all along."""
    enrol(service, "ada", 1, 2, 3)
    changes.start("album", "new")
    changes.run("album")
    follower = service.resources.indexes
    store = service.resources.store
    probe = NEW.vector(1)[None]
    assert sorted(follower.search(store.galleries.get("album").of(NEXT), probe, 9)[0]) == [1, 2, 3]
    assert shadow(changes.abandon("album")) == (VERSION, None)
    assert held(service, NEXT) == {}
    store.references.delete("album", "ada", store.references.list("album", "ada", 1).items[0].id)
    changes.start("album", "new")
    changes.run("album")
    assert sorted(follower.search(store.galleries.get("album").of(NEXT), probe, 9)[0]) == [2, 3]
    assert sorted(follower.search(store.galleries.get("album"), probe, 9)[0]) == [2, 3]


def test_a_run_that_stopped_half_way_goes_on(service: FaceService, changes: ModelChanges) -> None:
    enrol(service, "ada", *range(1, 31))
    changes.start("album", "new")

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        changes.run("album", stop)
    assert shadow(service.resources.store.galleries.get("album")) == (VERSION, Shadow(NEXT, FILLING, 24))
    told: list[int] = []
    changes.run("album", told.append)
    assert told == [6]
    assert held(service, NEXT) == vectors(NEW, range(1, 31))


def test_deletion_that_was_killed_goes_on(service: FaceService, changes: ModelChanges) -> None:
    enrol(service, "ada", 1, 2, 3)
    changes.start("album", "new")
    changes.run("album")
    changes.cut_over("album")
    leaving = changes.store.model_changes.release_shadow("album", STANDBY)
    assert changes.store.model_changes.delete_shadow(leaving, 2) is False
    assert shadow(service.resources.store.galleries.get("album")) == (NEXT, Shadow(VERSION, LEAVING, 1))
    enrol(service, "bob", 4)
    assert nearest(service, 4) == ("bob", 0.0, NEXT, 0.9)
    for impossible in (changes.roll_back, changes.cut_over, changes.run, changes.agreement):
        with pytest.raises(ModelChangeConflict):
            impossible("album")
    with pytest.raises(ModelChangeConflict, match="holds templates of sha256:test already"):
        changes.start("album", "new")
    assert shadow(changes.finish("album")) == (NEXT, None)
    assert held(service, VERSION) == {}


def test_what_is_not_possible(service: FaceService, changes: ModelChanges) -> None:
    for impossible in (changes.run, changes.cut_over, changes.roll_back, changes.finish, changes.abandon):
        with pytest.raises(ModelChangeConflict, match="no model change is under way"):
            impossible("album")
        with pytest.raises(GalleryNotFound):
            impossible("nowhere")
    with pytest.raises(RequestError, match="there is no pack 'older'"):
        changes.start("album", "older")
    changes.start("album", "new")
    for impossible in (changes.roll_back, changes.finish):
        with pytest.raises(ModelChangeConflict, match="it has not been cut over"):
            impossible("album")
    changes.cut_over("album")
    with pytest.raises(ModelChangeConflict, match="it has been cut over already"):
        changes.abandon("album")
    with pytest.raises(ModelChangeConflict, match="it has been cut over already"):
        changes.cut_over("album")


def test_an_enrolment_that_began_before_the_change_has_both(store: Store, service: FaceService) -> None:
    """It is refused as it is stored, and made again with what the gallery has come to hold."""
    service.model_changes.start("album", "new")
    with pytest.raises(TemplateVersionMismatch, match=f"has come to hold template version {NEXT}"):
        store.references.add("album", "ada", [new_reference(1)], versions=(VERSION,))
    assert store.galleries.get("album").references == 0
    store.references.add("album", "ada", [new_reference(1)], versions=(VERSION, NEXT))  # it could not be made
    assert (store.galleries.get("album").templates, store.galleries.get("album").shadow) == (
        1,
        Shadow(NEXT, FILLING, 0),
    )


def test_templates_of_both_are_taken_whichever_answers(store: Store, service: FaceService) -> None:
    changes = service.model_changes
    changes.start("album", "new")
    changes.cut_over("album")
    new = NewReference(_sample(OLD, 1), "ab" * 32, shadow=Template(NEW.vector(1), NEXT))
    (stored,) = store.references.add("album", "ada", [new], versions=(VERSION, NEXT))
    assert stored.sample.template.version == NEXT
    np.testing.assert_array_equal(stored.sample.template.vector, NEW.vector(1))
    assert (held(service, VERSION), held(service, NEXT)) == (vectors(OLD, [1]), vectors(NEW, [1]))


class Meddler(Both):
    """Something else happens to the gallery while a photograph is worked on, once."""

    def __init__(self, happen: Callable[[], object]) -> None:
        super().__init__()
        self.happen: Callable[[], object] | None = happen

    def of(self, template_version: str) -> Seeded:
        found = super().of(template_version)
        if self.happen is None:
            return found
        return Interrupted(found, self)


class Interrupted(Seeded):
    def __init__(self, pack: Seeded, meddler: Meddler) -> None:
        super().__init__(pack.template_version, pack.pack, pack.threshold)
        self.meddler = meddler

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        happen, self.meddler.happen = self.meddler.happen, None
        if happen:
            happen()
        return super().extract(photograph, choice)


def moved(changes: ModelChanges) -> Callable[[], object]:
    """The whole way to the other version and no way back: what answered before is deleted."""

    def move() -> None:
        changes.start("album", "new")
        changes.run("album")
        changes.cut_over("album")
        changes.finish("album")

    return move


@pytest.mark.parametrize("request_", ["identify", "verify"])
def test_a_request_whose_version_is_gone_at_its_end_is_done_again(service: FaceService, request_: str) -> None:
    enrol(service, "ada", 1)
    enrol(service, "bob", 2)
    slow = make_service(Meddler(moved(service.model_changes)), service.resources.store, service.resources.indexes)
    wanted = float(np.square(NEW.vector(7).astype(float) - NEW.vector(2).astype(float)).sum())
    if request_ == "verify":
        one = slow.decisions.verify_subject(b"7", "album", "bob")
        found = one.distance, one.threshold.template_version, one.threshold.value
    else:
        answer = slow.decisions.identify(b"7", "album", 2)
        (bob,) = (c for c in answer.faces[0].candidates if c.subject == "bob")
        found = bob.distance, answer.threshold.template_version, answer.threshold.value
    assert found == (pytest.approx(wanted, abs=1e-12), NEXT, 0.9)


def test_an_enrolment_during_the_whole_change_is_of_the_new_version(service: FaceService) -> None:
    enrol(service, "ada", 1)
    slow = make_service(Meddler(moved(service.model_changes)), service.resources.store, service.resources.indexes)
    enrol(slow, "bob", 2)
    assert (held(service, VERSION), held(service, NEXT)) == ({}, vectors(NEW, [1, 2]))
    assert nearest(service, 2) == ("bob", 0.0, NEXT, 0.9)


def test_a_gallery_deleted_meanwhile_is_not_found(service: FaceService) -> None:
    enrol(service, "ada", 1)
    slow = make_service(
        Meddler(lambda: service.galleries.delete("album")), service.resources.store, service.resources.indexes
    )
    with pytest.raises(GalleryNotFound):
        slow.decisions.identify(b"1", "album")


def test_an_export_is_of_one_version(service: FaceService, changes: ModelChanges) -> None:
    """Of the one that answers, or another that is held; who was left behind stays out, their subjects don't."""
    exchange = SqlExchange(changes.store.engine, changes.store.tenant, changes.store.codec)  # type: ignore[attr-defined]
    enrol(service, "ada", 1)
    enrol(service, "bob", 95)
    changes.start("album", "new")
    changes.run("album")
    changes.cut_over("album", leave_behind=True)

    def exported(version: str | None = None) -> list[tuple[str, bytes | None]]:
        entries = exchange.entries("album", template_version=version)
        found = [(e.subject, e.reference and e.reference.new.sample.template.vector.tobytes()) for e in entries]
        return sorted(found)

    assert exported() == exported(NEXT) == [("ada", NEW.vector(1).tobytes()), ("bob", None)]
    assert exported(VERSION) == [("ada", OLD.vector(1).tobytes()), ("bob", OLD.vector(95).tobytes())]
    changes.finish("album")
    with pytest.raises(TemplateVersionMismatch):
        exported(VERSION)


def test_threads_that_ask_and_enrol_while_the_model_goes_to_and_fro(service: FaceService) -> None:
    """Whatever version answers, the nearest is who was enrolled with that photograph, at distance 0."""
    enrol(service, "subject 0", 0)
    changes, ended = service.model_changes, Event()

    def ask(thread: int) -> list[str]:
        wrong = []
        for seed in range(10 * thread, 10 * thread + 6):
            enrol(service, f"subject {seed}", seed)
            subject, distance, version, threshold = nearest(service, seed)
            if (subject, distance) != (f"subject {seed}", 0.0) or threshold != {VERSION: 1.1, NEXT: 0.9}[version]:
                wrong.append(f"{seed}: {subject} {distance} {version} {threshold}")
        return wrong

    def change() -> int:
        rounds = 0
        while not ended.is_set():
            target = "new" if service.resources.store.galleries.get("album").template_version == VERSION else "old"
            changes.start("album", target)
            changes.run("album")
            changes.cut_over("album")
            if rounds % 2:
                changes.roll_back("album")
                changes.abandon("album")
            else:
                changes.finish("album")
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        changing = pool.submit(change)
        try:
            wrong = list(pool.map(ask, (1, 2, 3)))
        finally:
            ended.set()
        assert changing.result() > 0
    assert wrong == [[], [], []]
    gallery = service.resources.store.galleries.get("album")
    assert (gallery.templates, gallery.references) == (19, 19)
