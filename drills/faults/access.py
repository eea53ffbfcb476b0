"""How a worker reaches the service: in its own process. ``drills.faults.served`` has the way over HTTP."""

import json
from collections.abc import Sequence
from typing import Protocol

from facesvc.core.answers import Enrolment
from facesvc.core.types import GalleryChange, NewGallery, NewSubject, ShadowState, SubjectChange, Ticket
from facesvc.errors import ModelChangeConflict, ModelChangeIncomplete
from facesvc.index.galleries import GalleryIndexes
from facesvc.service import FaceService
from facesvc.service.enrolment import EnrolmentRequest, Once
from tests.support.databases import VERSION

NEXT_VERSION = "sha256:next"
"""The template version that galleries move to, and back from."""
STEPS: dict[ShadowState | None, tuple[str, ...]] = {
    None: ("start",),
    ShadowState.FILLING: ("run", "run", "cut_over", "cut_over", "abandon"),
    ShadowState.STANDBY: ("roll_back", "finish", "run"),
    ShadowState.LEAVING: ("finish",),
}
Candidates = list[tuple[str, float, str]]
"""Subject, distance and reference, nearest first."""


class Access(Protocol):
    """The service in plain values. Photographs go by name; each name stands for other bytes."""

    def content(self, photograph: str) -> bytes:
        """The bytes that a name stands for."""
        ...

    def enrol(self, gallery: str, person: str, photographs: Sequence[str], key: str | None) -> list[str]:
        """Ids of the references, one for each photograph. key: the request's idempotency key."""
        ...

    def delete_reference(self, gallery: str, person: str, reference: str) -> None: ...

    def read_photograph(self, gallery: str, person: str, reference: str) -> bytes: ...

    def create_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None: ...

    def change_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None: ...

    def delete_person(self, gallery: str, person: str) -> None: ...

    def create_gallery(self, gallery: str, keeps: bool) -> None: ...

    def change_gallery(self, gallery: str, keeps: bool) -> None: ...

    def delete_gallery(self, gallery: str) -> None: ...

    def search(self, gallery: str, photograph: str, top_k: int) -> Candidates: ...

    def change_model(self, gallery: str, turn: float) -> str:
        """Goes on with a gallery's model change; what was done."""
        ...

    def follow(self) -> None:
        """Catches indexes up with the database, and brings their snapshots up to date."""
        ...


class Direct:
    """Access to the use cases themselves, with ready-made photographs: a name is its own content."""

    def __init__(self, service: FaceService) -> None:
        self.service, self.store = service, service.resources.store

    def content(self, photograph: str) -> bytes:
        return photograph.encode()

    def enrol(self, gallery: str, person: str, photographs: Sequence[str], key: str | None) -> list[str]:
        asked = EnrolmentRequest(gallery, person, [self.content(name) for name in photographs], strict=False)
        if key is None:
            return references(self.service.enrolments.enrol(asked))
        ticket = Ticket(key, " ".join([gallery, person, *photographs]))
        once = Once(ticket, lambda answer: json.dumps(references(answer)).encode())
        kept, _ = self.service.enrolments.enrol_once(once, asked)
        return json.loads(kept)

    def delete_reference(self, gallery: str, person: str, reference: str) -> None:
        self.store.references.delete(gallery, person, reference)

    def read_photograph(self, gallery: str, person: str, reference: str) -> bytes:
        return self.store.references.photograph(gallery, person, reference).content

    def create_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None:
        self.service.subjects.create(gallery, NewSubject(person, called, metadata))

    def change_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None:
        self.store.subjects.update(gallery, person, SubjectChange(display_name=called, metadata=metadata))

    def delete_person(self, gallery: str, person: str) -> None:
        self.store.subjects.delete(gallery, person)

    def create_gallery(self, gallery: str, keeps: bool) -> None:
        self.service.galleries.create(NewGallery(gallery, keeps))

    def change_gallery(self, gallery: str, keeps: bool) -> None:
        self.store.galleries.update(gallery, GalleryChange(keep_photographs=keeps))

    def delete_gallery(self, gallery: str) -> None:
        self.service.galleries.delete(gallery)

    def search(self, gallery: str, photograph: str, top_k: int) -> Candidates:
        (face,) = self.service.decisions.identify(photograph.encode(), gallery, top_k).faces
        return [(c.subject, c.distance, c.reference) for c in face.candidates]

    def change_model(self, gallery: str, turn: float) -> str:
        """As far as the gallery has come, its model change can go on in ways among which ``turn``, 0..1, chooses."""
        found = self.store.galleries.get(gallery)
        at = found.shadow.state if found.shadow else None
        step = STEPS[at][int(turn * len(STEPS[at]))]
        other = NEXT_VERSION if found.template_version == VERSION else VERSION
        changes = self.service.model_changes
        try:
            changes.start(gallery, other) if step == "start" else getattr(changes, step)(gallery)
        except (ModelChangeConflict, ModelChangeIncomplete) as error:  # others take part in it
            return f"{step}: {error.code}"
        return step

    def follow(self) -> None:
        assert isinstance(self.service.resources.indexes, GalleryIndexes)
        self.service.resources.indexes.follow(lambda: False)


def references(answer: Enrolment) -> list[str]:
    return [outcome.reference.id for outcome in answer.outcomes if outcome.reference]
