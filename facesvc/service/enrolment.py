"""The use case of enrolment: photographs become references of a subject, together or not at all, and at most once
where the caller names the request.

While a gallery moves from one model pack to another, each gets a template of both, so that neither the cut-over nor
the way back loses anybody.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.answers import Enrolment, EnrolmentOutcome
from facesvc.core.choose import same_face
from facesvc.core.names import require_name
from facesvc.core.ports import Extractor, Extractors
from facesvc.core.types import FaceChoice, Gallery, NewReference, Receipt, Reference, Sample, Template, Ticket
from facesvc.errors import (
    FaceServiceError,
    ImageError,
    ModelError,
    Overloaded,
    SampleError,
    StoreError,
    SubjectExists,
    TemplateVersionMismatch,
)
from facesvc.service.audit import Trail
from facesvc.service.expiry import Expiry
from facesvc.storage.store import Store

Assessed = NewReference | FaceServiceError
"""What is to be stored of a photograph, or the error that refused it."""


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """strict: refuse samples that fail their quality checks."""

    gallery: str
    subject: str
    photographs: Sequence[bytes]
    choice: FaceChoice = FaceChoice.ONLY
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Once:
    """A request that may come again. render: its answer, as it is kept beside the references and given again."""

    ticket: Ticket
    render: Callable[[Enrolment], bytes]


class Enrolments:
    """Enrol photographs into one tenant's store, for one caller. Each request writes its line in the audit log, and
    one more before anything is stored."""

    def __init__(
        self,
        extractors: Extractors,
        store: Store,
        expiry: Expiry,
        audit: Trail,
        max_references: int | None = None,
    ) -> None:
        """max_references: of one subject; None for any number."""
        self.extractors, self.store, self.max_references = extractors, store, max_references
        self.expiry, self.audit = expiry, audit

    def enrol(self, asked: EnrolmentRequest) -> Enrolment:
        """Add references to a subject, made if it is new; each photograph has its own outcome. Those that are not
        refused are stored together, or none is.

        Raises GalleryNotFound, TemplateVersionMismatch where the gallery's model pack is not here, TooManyReferences,
        RequestError for a bad name.
        """
        with self.audit.question("enrol", asked.gallery, asked.subject) as outcome:
            answer = self._enrol(asked)
            outcome.told = _enrolled(answer)
        return answer

    def enrol_once(self, once: Once, asked: EnrolmentRequest) -> tuple[bytes, Enrolment | None]:
        """Enrol at most once: return the request's rendered answer, and the enrolment unless an earlier request of the
        same ticket had made it.

        Also raises IdempotencyKeyInUse while that runs, IdempotencyKeyReused where it asked for something else.
        A request that fails is forgotten: it may be tried again.
        """
        with self.audit.question("enrol", asked.gallery, asked.subject) as outcome:
            known = self.store.answers.claim(once.ticket)
            if known is not None:
                outcome.told = {"repeated": True}
                return known, None
            try:
                enrolment = self._enrol(asked, once)
            except BaseException:
                with suppress(StoreError):  # then the claim lapses by itself
                    self.store.answers.release(once.ticket)
                raise
            rendered = once.render(enrolment)
            outcome.told = _enrolled(enrolment)
        return rendered, enrolment

    def _enrol(self, asked: EnrolmentRequest, once: Once | None = None) -> Enrolment:
        require_name(asked.subject)
        while True:
            target = self.store.galleries.get(asked.gallery)
            assessed = [self._assess(target, photograph, asked) for photograph in asked.photographs]
            try:
                return self._store(target, asked, assessed, once)
            except TemplateVersionMismatch:  # it has come to hold another version: that one's templates are made too
                if self.store.galleries.get(asked.gallery).versions == target.versions:
                    raise

    def _store(
        self, target: Gallery, asked: EnrolmentRequest, assessed: Sequence[Assessed], once: Once | None
    ) -> Enrolment:
        """The change itself: until here, nothing was written of it."""
        self.audit.begin("enrol", asked.gallery, asked.subject)
        receipt = None
        if once:
            receipt = Receipt(once.ticket, lambda stored: once.render(_enrolment(asked, assessed, stored)))
        new = [found for found in assessed if isinstance(found, NewReference)]
        wanted = (asked.gallery, asked.subject, new, receipt, target.versions, self.max_references)
        while True:
            try:
                return _enrolment(asked, assessed, self.store.references.add(*wanted))
            except SubjectExists:  # one that has expired: the new one takes its place
                self.expiry.make_place(asked.gallery, asked.subject)

    def _assess(self, gallery: Gallery, photograph: bytes, asked: EnrolmentRequest) -> Assessed:
        extractor = self.extractors.of(gallery.template_version)
        try:
            capture = extractor.extract(photograph, asked.choice)
            sample = capture.samples[0]
            if asked.strict:
                _require_quality(sample)
        except (ImageError, SampleError) as error:  # the photograph's own fault; anything else stops the request
            return error
        kept = photograph if gallery.keep_photographs else None
        media_type = f"image/{capture.format.lower()}"  # true of every format that decodes
        shadow = self._shadow(gallery, photograph, sample)
        return NewReference(sample, sha256(photograph).hexdigest(), kept, media_type, shadow)

    def _shadow(self, gallery: Gallery, photograph: bytes, sample: Sample) -> Template | None:
        """The same face's template of the gallery's other version, if it has one. Where that can't be made, the
        reference is one of those that a model change would leave behind, and tells of."""
        if len(gallery.versions) == 1:
            return None
        try:
            return template_of(self.extractors.of(gallery.versions[1]), photograph, sample.face.box)
        except Overloaded:
            raise
        except (SampleError, ImageError, ModelError, TemplateVersionMismatch):
            return None


def template_of(extractor: Extractor, photograph: bytes, box: NDArray[np.float32]) -> Template:
    """Of the face that another pack found in this box (4,), px. Raises ImageError, SampleError, ModelError."""
    return same_face(extractor.extract(photograph, FaceChoice.ALL).samples, box).template


def _enrolment(asked: EnrolmentRequest, assessed: Sequence[Assessed], stored: Sequence[Reference]) -> Enrolment:
    """Outcomes in the order of the photographs; ``stored`` are the references of those that were not refused."""
    references = iter(stored)
    outcomes = tuple(
        EnrolmentOutcome(reference=next(references))
        if isinstance(found, NewReference)
        else EnrolmentOutcome(error=found)
        for found in assessed
    )
    return Enrolment(asked.gallery, asked.subject, outcomes)


def _enrolled(answer: Enrolment) -> dict[str, Any]:
    """What a line says of it."""
    refused = [outcome.error.code for outcome in answer.outcomes if outcome.error]
    return {"references": [o.reference.id for o in answer.outcomes if o.reference], "refused": refused}


def _require_quality(sample: Sample) -> None:
    """Raises the SampleError of the first quality check that failed; its detail names all of them."""
    if sample.quality.reasons:
        by_code = {kind.code: kind for kind in SampleError.__subclasses__()}
        failed = [by_code[code] for code in sample.quality.reasons]
        raise failed[0](f"sample refused: {', '.join(kind.title.lower() for kind in failed)}")
