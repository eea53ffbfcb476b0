"""The backend that runs the service in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import BinaryIO

from facesvc.bootstrap import bootstrap, bootstrap_on_cluster
from facesvc.cli.backend import Cluster
from facesvc.config import Settings
from facesvc.core.decide import DecisionRule
from facesvc.core.types import FaceChoice, NewGallery, Retention, SubjectChange, every
from facesvc.schemas.decisions import Identification, Verification
from facesvc.schemas.galleries import (
    EnrolledPhotograph,
    ErasureReceipt,
    Gallery,
    Model,
    Reference,
    RejectedPhotograph,
    Subject,
    photograph_outcome,
)
from facesvc.service import FaceService
from facesvc.service.enrolment import EnrolmentRequest


@contextmanager
def open_local(settings: Settings, lazily: bool = False) -> Iterator["LocalBackend"]:
    """lazily: no model is loaded before it is needed."""
    with bootstrap(settings, lazily=lazily) as service:
        yield LocalBackend(service, settings.workers)


@contextmanager
def open_on_cluster(settings: Settings, cluster: Cluster) -> Iterator["LocalBackend"]:
    """Store and search are this process's, photographs go to the cluster."""
    with bootstrap_on_cluster(settings, cluster.address, cluster.workers) as (service, callers):
        yield LocalBackend(service, callers)


class LocalBackend:
    """Implements ``Backend`` over the use cases."""

    def __init__(self, service: FaceService, workers: int) -> None:
        self.service, self.workers = service, workers

    def model(self, gallery: str) -> Model:
        return Model.of(self.service.decisions.model(gallery))

    def verify(self, probe: bytes, reference: bytes, face: str, rule: DecisionRule) -> Verification:
        return Verification.of(self.service.decisions.verify(probe, reference, FaceChoice(face), rule))

    def identify(self, photograph: bytes, gallery: str, top_k: int, face: str, rule: DecisionRule) -> Identification:
        return Identification.of(self.service.decisions.identify(photograph, gallery, top_k, FaceChoice(face), rule))

    def enrol(
        self, gallery: str, subject: str, photograph: bytes, face: str, strict: bool
    ) -> EnrolledPhotograph | RejectedPhotograph:
        answer = self.service.enrolments.enrol(
            EnrolmentRequest(gallery, subject, [photograph], FaceChoice(face), strict)
        )
        return photograph_outcome(answer.outcomes[0])

    def galleries(self) -> Iterator[Gallery]:
        return map(Gallery.of, every(self.service.galleries.list))

    def gallery(self, name: str) -> Gallery:
        return Gallery.of(self.service.galleries.get(name))

    def create_gallery(self, name: str, keep_photographs: bool = False) -> Gallery:
        return Gallery.of(self.service.galleries.create(NewGallery(name, keep_photographs)))

    def delete_gallery(self, name: str) -> None:
        self.service.galleries.delete(name)

    def subjects(self, gallery: str) -> Iterator[Subject]:
        return map(Subject.of, every(partial(self.service.subjects.list, gallery)))

    def subject(self, gallery: str, subject: str) -> Subject:
        return Subject.of(self.service.subjects.get(gallery, subject))

    def rename_subject(self, gallery: str, subject: str, display_name: str) -> Subject:
        return Subject.of(self.service.subjects.update(gallery, subject, SubjectChange(display_name)))

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        self.service.subjects.mark_canary(gallery, subject, canary)

    def retain_subject(self, gallery: str, subject: str, consent: str | None, expires_at: datetime | None) -> Subject:
        change = SubjectChange(retention=Retention(consent, expires_at))
        return Subject.of(self.service.subjects.update(gallery, subject, change))

    def erase_subject(self, gallery: str, subject: str) -> ErasureReceipt:
        return ErasureReceipt.of(self.service.subjects.erase(gallery, subject))

    def export_subject(self, gallery: str, subject: str, file: BinaryIO) -> None:
        file.writelines(self.service.subject_exports.archive(gallery, subject))

    def delete_subject(self, gallery: str, subject: str) -> None:
        self.service.subjects.delete(gallery, subject)

    def references(self, gallery: str, subject: str) -> Iterator[Reference]:
        return map(Reference.of, every(partial(self.service.references.list, gallery, subject)))
