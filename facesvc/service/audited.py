"""The use cases with a line in the audit log for each: see ``facesvc.service.audit``."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

from facesvc.core.access import Caller
from facesvc.core.answers import Enrolment, Identification, Verification
from facesvc.core.decide import OWN_THRESHOLD, DecisionRule, Threshold
from facesvc.core.erasure import Deleted, ErasureReceipt, Expired, Signer, receipt, statement
from facesvc.core.model_change import ModelChangeStore
from facesvc.core.ports import Extractors, ReferenceStore, VersionedExtractors
from facesvc.core.types import (
    FaceChoice,
    Gallery,
    GalleryChange,
    NewGallery,
    NewSubject,
    Page,
    Photograph,
    Reference,
    Subject,
    SubjectChange,
)
from facesvc.index.galleries import GalleryIndexes
from facesvc.service.audit import Trail
from facesvc.service.decisions import FaceService
from facesvc.service.disclosure import Watch
from facesvc.service.enrolment import Assessed, EnrolmentRequest, Once
from facesvc.service.model_changes import ModelChanges
from facesvc.service.subjects import Expiry


class AuditedModelChanges(ModelChanges):
    """The steps by which a gallery comes to be answered by another model."""

    def __init__(self, extractors: VersionedExtractors, store: ModelChangeStore, trail: Trail) -> None:
        super().__init__(extractors, store)
        self.trail = trail

    def start(self, gallery: str, pack: str) -> Gallery:
        return self._noted("start_model_change", gallery, partial(super().start, gallery, pack))

    def cut_over(self, gallery: str, leave_behind: bool = False) -> Gallery:
        return self._noted("cut_over", gallery, partial(super().cut_over, gallery, leave_behind))

    def roll_back(self, gallery: str, leave_behind: bool = False) -> Gallery:
        return self._noted("roll_back", gallery, partial(super().roll_back, gallery, leave_behind))

    def finish(self, gallery: str) -> Gallery:
        return self._noted("finish_model_change", gallery, partial(super().finish, gallery))

    def abandon(self, gallery: str) -> Gallery:
        return self._noted("abandon_model_change", gallery, partial(super().abandon, gallery))

    def _noted(self, action: str, gallery: str, change: Callable[[], Gallery]) -> Gallery:
        with self.trail.changing(action, gallery) as outcome:
            changed = change()
            outcome.told = {"template_version": changed.template_version}
        return changed


class AuditedExpiry(Expiry):
    """The erasure of who has expired."""

    def __init__(self, store: ReferenceStore, trail: Trail) -> None:
        self.store, self.trail = store, trail

    def erase_expired(self, expired: Expired) -> Sequence[Deleted]:
        with self.trail.changing("erase", expired.gallery, expired.subject) as outcome:
            gone = super().erase_expired(expired)
            outcome.told = {"expired": True, **counted(gone)}
        return gone


def counted(references: Sequence[Deleted]) -> dict[str, Any]:
    """What a line says of them."""
    return {"references": len(references), "photographs": sum(deleted.had_photograph for deleted in references)}


class AuditedService(AuditedExpiry, FaceService):
    """FaceService for one caller at a time: ``by`` makes it another's. signer: of the tenant's receipts."""

    def __init__(
        self,
        extractors: Extractors,
        store: ModelChangeStore,
        indexes: GalleryIndexes,
        trail: Trail,
        signer: Signer,
        watch: Watch,
        max_references: int | None = None,
    ) -> None:
        FaceService.__init__(self, extractors, store, indexes, max_references)
        self.trail, self.signer, self.watch = trail, signer, watch

    def by(self, caller: Caller, request: str | None = None) -> "AuditedService":
        """The same service, answering ``caller``."""
        mine = copy(self)
        mine.trail = self.trail.by(caller, request)
        return mine

    @property
    def model_changes(self) -> AuditedModelChanges:
        return AuditedModelChanges(self.extractors, self.changing, self.trail)

    # --- decisions ---------------------------------------------------------------------------------

    def verify(
        self,
        probe: bytes,
        reference: bytes,
        choice: FaceChoice = FaceChoice.PROMINENT,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Verification:
        with self.trail.asked("verify") as outcome:
            answer = super().verify(probe, reference, choice, rule)
            outcome.told = _decided(answer)
        return answer

    def verify_subject(
        self,
        probe: bytes,
        gallery: str,
        subject: str,
        choice: FaceChoice = FaceChoice.PROMINENT,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Verification:
        with self.trail.asked("verify", gallery, subject) as outcome:
            answer = super().verify_subject(probe, gallery, subject, choice, rule)
            canary = self.watch.verified(answer, self.trail.caller, self.trail.request)
            outcome.told = _decided(answer) | _alarm(canary)
        return answer

    def identify(
        self,
        photograph: bytes,
        gallery: str,
        top_k: int = 5,
        choice: FaceChoice = FaceChoice.ALL,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Identification:
        with self.trail.asked("identify", gallery) as outcome:
            answer = super().identify(photograph, gallery, top_k, choice, rule)
            canary = self.watch.identified(answer, self.trail.caller, self.trail.request)
            faces = [
                {
                    "decision": face.decision,
                    "candidates": [self.trail.subject(gallery, candidate.subject) for candidate in face.candidates],
                    "matches": sum(face.threshold.matches(candidate.distance) for candidate in face.candidates),
                }
                for face in answer.faces
            ]
            outcome.told = {"faces": faces, **_by(answer.threshold), **_alarm(canary)}
        return answer

    # --- enrolment ---------------------------------------------------------------------------------

    def enrol(self, asked: EnrolmentRequest) -> Enrolment:
        with self.trail.asked("enrol", asked.gallery, asked.subject) as outcome:
            answer = super().enrol(asked)
            outcome.told = _enrolled(answer)
        return answer

    def enrol_once(self, once: Once, asked: EnrolmentRequest) -> tuple[bytes, Enrolment | None]:
        with self.trail.asked("enrol", asked.gallery, asked.subject) as outcome:
            rendered, answer = super().enrol_once(once, asked)
            outcome.told = _enrolled(answer) if answer else {"repeated": True}
        return rendered, answer

    def stored(
        self, target: Gallery, asked: EnrolmentRequest, assessed: Sequence[Assessed], once: Once | None
    ) -> Enrolment:
        self.trail.begun("enrol", asked.gallery, asked.subject)
        return super().stored(target, asked, assessed, once)

    # --- what is kept --------------------------------------------------------------------------------

    def create_gallery(self, new: NewGallery) -> Gallery:
        with self.trail.changing("create_gallery", new.name):
            return super().create_gallery(new)

    def update_gallery(self, name: str, change: GalleryChange) -> Gallery:
        with self.trail.changing("update_gallery", name) as outcome:
            outcome.told = {"keep_photographs": change.keep_photographs}
            return super().update_gallery(name, change)

    def delete_gallery(self, name: str) -> None:
        with self.trail.changing("delete_gallery", name):
            super().delete_gallery(name)

    def create_subject(self, gallery: str, new: NewSubject) -> Subject:
        with self.trail.changing("create_subject", gallery, new.id):
            return super().create_subject(gallery, new)

    def update_subject(self, gallery: str, subject: str, change: SubjectChange) -> Subject:
        with self.trail.changing("update_subject", gallery, subject):
            if self.trail.caller.identities_per_day is not None:  # the answer tells of all that was there before
                self.watch.told([self.store.subject(gallery, subject)], self.trail.caller)
            return super().update_subject(gallery, subject, change)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        with self.trail.changing("mark_canary", gallery, subject) as outcome:
            outcome.told = {"canary": canary}
            super().mark_canary(gallery, subject, canary)

    def delete_subject(self, gallery: str, subject: str) -> None:
        with self.trail.changing("delete_subject", gallery, subject):
            super().delete_subject(gallery, subject)

    def erase(self, gallery: str, subject: str) -> ErasureReceipt:
        """Deletes the subject with all that is kept of it, takes its vectors out of the indexes and their snapshots,
        looks whether anything is left, and signs what was done. Where that ended early, asking again goes on with it;
        for a day after its end, the receipt is given again. Raises GalleryNotFound, SubjectNotFound, IndexUnavailable.
        """
        with self.trail.changing("erase", gallery, subject) as outcome:
            erasure = self.store.begin_erasure(gallery, subject)
            erased = self.purged(gallery, erasure) if erasure.statement is None else None
            outcome.told = counted(erasure.references) if erased else {"repeated": True}
        stated = erasure.statement or {}
        if erased:
            caller = self.trail.caller
            stated = self.store.finish_erasure(erasure, statement(erased, caller.tenant, caller.key, outcome.head))
        return receipt(stated, gallery, subject, self.signer)

    def delete_reference(self, gallery: str, subject: str, reference: str) -> None:
        with self.trail.changing("delete_reference", gallery, subject) as outcome:
            outcome.told = {"reference": reference}
            super().delete_reference(gallery, subject, reference)

    # --- who is kept: no more of them than the caller's identities_per_day are told of -------------------

    def list_subjects(self, gallery: str, limit: int, cursor: str | None = None) -> Page[Subject]:
        with self.trail.asked("list_subjects", gallery) as outcome:
            page = super().list_subjects(gallery, limit, cursor)
            self.watch.told(page.items, self.trail.caller)
            outcome.told = {"subjects": len(page.items)}
        return page

    def read_subject(self, gallery: str, subject: str) -> Subject:
        with self.trail.asked("read_subject", gallery, subject):
            found = super().read_subject(gallery, subject)
            self.watch.told([found], self.trail.caller)
        return found

    def list_references(self, gallery: str, subject: str, limit: int, cursor: str | None = None) -> Page[Reference]:
        with self.trail.asked("list_references", gallery, subject) as outcome:
            page = super().list_references(gallery, subject, limit, cursor)
            self.watch.told_by([reference.id for reference in page.items], self.trail.caller)
            outcome.told = {"references": len(page.items)}
        return page

    def read_reference(self, gallery: str, subject: str, reference: str) -> Reference:
        with self.trail.asked("read_reference", gallery, subject) as outcome:
            found = super().read_reference(gallery, subject, reference)
            self.watch.told_by([found.id], self.trail.caller)
            outcome.told = {"reference": found.id}
        return found

    def photograph(self, gallery: str, subject: str, reference: str) -> Photograph:
        with self.trail.asked("read_photograph", gallery, subject) as outcome:
            outcome.told = {"reference": reference}
            found = super().photograph(gallery, subject, reference)
            self.watch.told_by([reference], self.trail.caller)
        return found


def _by(threshold: Threshold) -> dict[str, Any]:
    """What a decision rests on."""
    return {
        "threshold": threshold.value,
        "fmr": threshold.fmr,
        "template_version": threshold.template_version,
        "calibration": threshold.calibration,
    }


def _alarm(canary: bool) -> dict[str, Any]:
    return {"alarm": "canary"} if canary else {}


def _decided(answer: Verification) -> dict[str, Any]:
    return {"decision": answer.decision.value, "match": answer.match, **_by(answer.threshold)}


def _enrolled(answer: Enrolment) -> dict[str, Any]:
    refused = [outcome.error.code for outcome in answer.outcomes if outcome.error]
    return {"references": [o.reference.id for o in answer.outcomes if o.reference], "refused": refused}
