"""What is stored, read as any caller would and put into the plain values of ``drills.faults.world``."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

import numpy as np

from drills.faults.journal import History
from drills.faults.worker import sample
from drills.faults.world import Person, Place, Places
from facesvc.core.types import Gallery, Reference, ShadowState, Subject
from facesvc.errors import PhotographNotFound, SealBroken
from facesvc.service import FaceService

Content = Callable[[str], bytes]
LIMIT = 10_000


class Reader:
    """content: the bytes that a photograph's name stands for; without it photographs are ready-made, and their
    templates known too. violations: what is not as it was sent."""

    def __init__(self, service: FaceService, histories: Sequence[History], content: Content | None) -> None:
        self.service, self.store, self.ready_made = service, service.resources.store, content is None
        encoded = content or str.encode
        self.names = {sha256(encoded(name)).hexdigest(): name for h in histories for name in h.photographs()}
        self.violations: list[str] = []

    def contents(self) -> Places:
        for gallery in self.store.galleries.list(LIMIT).items:
            self.violations += self.shadow(gallery)
        return {
            gallery.name: Place(
                gallery.keep_photographs,
                {s.id: self.person(gallery, s) for s in self.store.subjects.list(gallery.name, LIMIT).items},
            )
            for gallery in self.store.galleries.list(LIMIT).items
        }

    def person(self, gallery: Gallery, subject: Subject) -> Person:
        found = Person(subject.display_name, dict(subject.metadata))
        for reference in self.references(gallery, subject):
            name = self.names.get(reference.image_sha256, reference.image_sha256)
            found.references[name] = reference.id
            if reference.has_photograph:
                found.photographs.add(name)
            if wrong := self.photograph(gallery, reference) or self.template(reference):
                self.violations.append(f"{gallery.name}/{subject.id}: {wrong} of {name}")
        return found

    def references(self, gallery: Gallery, subject: Subject) -> Sequence[Reference]:
        """Those of a subject; none, and a violation, where some can't be opened."""
        try:
            return self.store.references.list(gallery.name, subject.id, LIMIT).items
        except SealBroken as error:
            self.violations.append(f"{gallery.name}/{subject.id}: {error.detail}")
            return ()

    def shadow(self, gallery: Gallery) -> Iterator[str]:
        """What is wrong with the templates of the gallery's other version: in standby, every reference has one."""
        if gallery.shadow is None or not self.ready_made:
            return
        subjects = self.store.subjects.list(gallery.name, LIMIT).items
        keys = [r.key for s in subjects for r in self.references(gallery, s)]
        other = gallery.of(gallery.shadow.template_version)
        there = self.store.search.owners(other, keys)
        if gallery.shadow.state is ShadowState.STANDBY and len(there) != len(keys):
            yield f"{gallery.name} could not be rolled back: {len(there)} of {len(keys)} templates are there"
        for key in there:
            try:
                (reference,) = self.store.references.by_key(other, [key])
            except SealBroken as error:
                yield f"{gallery.name}: {error.detail}, in standby"
                continue
            if wrong := self.template(reference):
                yield f"{gallery.name}/{reference.subject}: {wrong} of {reference.id}, in standby"

    def photograph(self, gallery: Gallery, reference: Reference) -> str | None:
        """What is wrong with a photograph that is said to be kept."""
        if not reference.has_photograph:
            return None
        try:
            content = self.store.references.photograph(gallery.name, reference.subject, reference.id).content
        except PhotographNotFound:
            return "no photograph"
        except SealBroken:
            return "a damaged photograph"
        return None if sha256(content).hexdigest() == reference.image_sha256 else "a damaged photograph"

    def template(self, reference: Reference) -> str | None:
        """What is wrong with a template: it must be the one that was sent, bit for bit."""
        name = self.names.get(reference.image_sha256)
        if name is None or not self.ready_made:
            return None
        if not reference.has_template:
            return "no template"
        stored = reference.sample.template
        sent = sample(name, stored.version).template
        return None if np.array_equal(sent.vector, stored.vector) else "another template"
