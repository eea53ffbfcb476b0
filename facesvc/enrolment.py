"""The use case of enrolment: photographs become references of a subject, together or not at all, and at most once
where the caller names the request."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from facesvc.core.answers import Enrolment, EnrolmentOutcome
from facesvc.core.compare import require_version
from facesvc.core.names import require_name
from facesvc.core.ports import Extractor, ReferenceStore
from facesvc.core.types import FaceChoice, Gallery, NewReference, Receipt, Reference, Sample, Ticket
from facesvc.errors import FaceServiceError, ImageError, SampleError, StoreError, sample_error

Assessed = NewReference | FaceServiceError
"""What is to be stored of a photograph, or the error that refused it."""


@dataclass(frozen=True, slots=True)
class Once:
    """A request that may come again. render: its answer, as it is kept beside the references and given again."""

    ticket: Ticket
    render: Callable[[Enrolment], bytes]


class Enrolments:
    """Enrolment into one tenant's store."""

    def __init__(self, extractor: Extractor, store: ReferenceStore) -> None:
        self.extractor, self.store = extractor, store

    def enrol(
        self,
        gallery: str,
        subject: str,
        photographs: Sequence[bytes],
        choice: FaceChoice = FaceChoice.ONLY,
        strict: bool = True,
    ) -> Enrolment:
        """Adds references to a subject, made if it is new; each photograph has its own outcome. Those that are not
        refused are stored together, or none is.

        strict refuses samples that fail their quality checks. Raises GalleryNotFound, TemplateVersionMismatch,
        RequestError for a bad name.
        """
        assessed = self._assessed(gallery, subject, photographs, choice, strict)
        return _enrolment(gallery, subject, assessed, self.store.add_references(gallery, subject, _new(assessed)))

    def enrol_once(
        self,
        once: Once,
        gallery: str,
        subject: str,
        photographs: Sequence[bytes],
        choice: FaceChoice = FaceChoice.ONLY,
        strict: bool = True,
    ) -> tuple[bytes, Enrolment | None]:
        """``enrol`` with a request that is done at most once: its rendered answer, and the enrolment unless an
        earlier request of the same ticket had made it.

        Also raises IdempotencyKeyInUse while that runs, IdempotencyKeyReused where it asked for something else.
        A request that fails is forgotten: it may be tried again.
        """
        known = self.store.claim(once.ticket)
        if known is not None:
            return known, None
        try:
            assessed = self._assessed(gallery, subject, photographs, choice, strict)
            receipt = Receipt(once.ticket, lambda stored: once.render(_enrolment(gallery, subject, assessed, stored)))
            stored = self.store.add_references(gallery, subject, _new(assessed), receipt)
        except BaseException:
            with suppress(StoreError):  # then the claim lapses by itself
                self.store.release(once.ticket)
            raise
        return receipt.answer(stored), _enrolment(gallery, subject, assessed, stored)

    def _assessed(
        self, gallery: str, subject: str, photographs: Sequence[bytes], choice: FaceChoice, strict: bool
    ) -> list[Assessed]:
        require_name(subject)
        target = self._gallery(gallery)
        return [self._assess(target, photograph, choice, strict) for photograph in photographs]

    def _assess(self, gallery: Gallery, photograph: bytes, choice: FaceChoice, strict: bool) -> Assessed:
        try:
            capture = self.extractor.extract(photograph, choice)
            sample = capture.samples[0]
            if strict:
                _require_quality(sample)
        except (ImageError, SampleError) as error:  # the photograph's own fault; anything else stops the request
            return error
        kept = photograph if gallery.keep_photographs else None
        media_type = f"image/{capture.format.lower()}"  # true of every format that decodes
        return NewReference(sample, sha256(photograph).hexdigest(), kept, media_type)

    def _gallery(self, name: str) -> Gallery:
        gallery = self.store.gallery(name)
        require_version(gallery.template_version, self.extractor.template_version)
        return gallery


def _new(assessed: Sequence[Assessed]) -> list[NewReference]:
    return [found for found in assessed if isinstance(found, NewReference)]


def _enrolment(gallery: str, subject: str, assessed: Sequence[Assessed], stored: Sequence[Reference]) -> Enrolment:
    """Outcomes in the order of the photographs; ``stored`` are the references of those that were not refused."""
    references = iter(stored)
    outcomes = tuple(
        EnrolmentOutcome(reference=next(references))
        if isinstance(found, NewReference)
        else EnrolmentOutcome(error=found)
        for found in assessed
    )
    return Enrolment(gallery, subject, outcomes)


def _require_quality(sample: Sample) -> None:
    """Raises the SampleError of the first quality check that failed; its detail names all of them."""
    if sample.quality.reasons:
        raise sample_error(sample.quality.reasons)
