"""How a worker reaches the service: in its own process. ``tests.faults.served`` has the way over HTTP."""

import json
from collections.abc import Sequence
from typing import Protocol

from facesvc.core.answers import Enrolment
from facesvc.core.types import Ticket
from facesvc.enrolment import Once
from facesvc.index.projection import Projection
from facesvc.service import FaceService

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

    def follow(self) -> None:
        """Catches indexes up with the database, and brings their snapshots up to date."""
        ...


class Direct:
    """Access to the use cases themselves, with ready-made photographs: a name is its own content."""

    def __init__(self, service: FaceService) -> None:
        self.service, self.store = service, service.store

    def content(self, photograph: str) -> bytes:
        return photograph.encode()

    def enrol(self, gallery: str, person: str, photographs: Sequence[str], key: str | None) -> list[str]:
        contents = [self.content(name) for name in photographs]
        if key is None:
            return references(self.service.enrol(gallery, person, contents, strict=False))
        ticket = Ticket(key, " ".join([gallery, person, *photographs]))
        once = Once(ticket, lambda answer: json.dumps(references(answer)).encode())
        kept, _ = self.service.enrol_once(once, gallery, person, contents, strict=False)
        return json.loads(kept)

    def delete_reference(self, gallery: str, person: str, reference: str) -> None:
        self.store.delete_reference(gallery, person, reference)

    def read_photograph(self, gallery: str, person: str, reference: str) -> bytes:
        return self.store.photograph(gallery, person, reference).content

    def create_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None:
        self.service.create_subject(gallery, person, called, metadata)

    def change_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None:
        self.store.update_subject(gallery, person, display_name=called, metadata=metadata)

    def delete_person(self, gallery: str, person: str) -> None:
        self.store.delete_subject(gallery, person)

    def create_gallery(self, gallery: str, keeps: bool) -> None:
        self.service.create_gallery(gallery, keeps)

    def change_gallery(self, gallery: str, keeps: bool) -> None:
        self.store.update_gallery(gallery, keep_photographs=keeps)

    def delete_gallery(self, gallery: str) -> None:
        self.service.delete_gallery(gallery)

    def search(self, gallery: str, photograph: str, top_k: int) -> Candidates:
        (face,) = self.service.identify(photograph.encode(), gallery, top_k).faces
        return [(c.subject, c.distance, c.reference) for c in face.candidates]

    def follow(self) -> None:
        assert isinstance(self.service.indexes, Projection)
        self.service.indexes.follow(lambda: False)


def references(answer: Enrolment) -> list[str]:
    return [outcome.reference.id for outcome in answer.outcomes if outcome.reference]
