"""Galleries, their subjects and references, what enrolling and erasing came to, and the model of their templates."""

import base64
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from facesvc.core import answers, decide, erasure, types
from facesvc.core.ports import Extractor
from facesvc.errors import FaceServiceError
from facesvc.schemas.base import Answer, FmrInterval, TemplateVersion, moment, optional_moment
from facesvc.schemas.decisions import Face, face_fields


class OtherTemplates(Answer):
    """Templates of another version than the one that answers."""

    template_version: TemplateVersion
    state: Literal["filling", "standby", "leaving"] = Field(
        description="filling: to answer after the cut-over; standby: they did before it; leaving: being deleted."
    )
    templates: int = Field(ge=0)

    @classmethod
    def of(cls, held: types.Shadow) -> Self:
        return cls(template_version=held.template_version, state=held.state.value, templates=held.templates)


class Gallery(Answer):
    name: str = Field(examples=["staff"])
    template_version: TemplateVersion
    keep_photographs: bool
    subjects: int = Field(ge=0)
    references: int = Field(ge=0)
    templates: int = Field(ge=0, description="References that have a template of template_version.")
    model_change: OtherTemplates | None
    revision: int = Field(ge=0, description="Number of the last change to its references.")
    metadata: dict[str, Any]
    created_at: str = Field(examples=["2026-11-21T08:00:00.000Z"])

    @classmethod
    def of(cls, stored: types.Gallery) -> Self:
        return cls(
            name=stored.name,
            template_version=stored.template_version,
            keep_photographs=stored.keep_photographs,
            subjects=stored.subjects,
            references=stored.references,
            templates=stored.templates,
            model_change=OtherTemplates.of(stored.shadow) if stored.shadow else None,
            revision=stored.revision,
            metadata=dict(stored.metadata),
            created_at=moment(stored.created_at),
        )


class Subject(Answer):
    id: str = Field(examples=["ada"])
    gallery: str = Field(examples=["staff"])
    display_name: str | None
    references: int = Field(ge=0)
    metadata: dict[str, Any]
    consent: str | None = Field(description="Your reference to what allows the subject to be kept.")
    expires_at: str | None = Field(description="From then on the subject does not answer.")
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, stored: types.Subject) -> Self:
        return cls(
            id=stored.id,
            gallery=stored.gallery,
            display_name=stored.display_name,
            references=stored.references,
            metadata=dict(stored.metadata),
            consent=stored.consent,
            expires_at=optional_moment(stored.expires_at),
            created_at=moment(stored.created_at),
            updated_at=moment(stored.updated_at),
        )


class KeptReference(Answer):
    id: str = Field(examples=["ref_2b6c"])
    subject: str


class Reference(Face, KeptReference):
    template_version: str | None = Field(description="null: without template, left behind by a change of model pack.")
    image_sha256: str
    has_photograph: bool
    created_at: str

    @classmethod
    def of(cls, stored: types.Reference) -> Self:
        """Return the shape of ``stored`` without its vector: templates do not leave the service through a listing."""
        return cls(
            id=stored.id,
            subject=stored.subject,
            **face_fields(stored.sample),
            template_version=stored.sample.template.version if stored.has_template else None,
            image_sha256=stored.image_sha256,
            has_photograph=stored.has_photograph,
            created_at=moment(stored.created_at),
        )


class NewReference(Answer):
    status: Literal["enrolled"]
    reference: str = Field(examples=["ref_2b6c"])


class EnrolledPhotograph(Face, NewReference):
    """The reference that was stored, and the face it was made of."""

    @classmethod
    def of(cls, made: types.Reference) -> Self:
        return cls(status="enrolled", reference=made.id, **face_fields(made.sample))


class RejectedPhotograph(Answer):
    status: Literal["rejected"]
    code: str = Field(examples=["no_face"])
    detail: str

    @classmethod
    def of(cls, error: FaceServiceError) -> Self:
        return cls(status="rejected", code=error.code, detail=error.detail)


PhotographOutcome = Annotated[EnrolledPhotograph | RejectedPhotograph, Field(discriminator="status")]


def photograph_outcome(outcome: answers.EnrolmentOutcome) -> EnrolledPhotograph | RejectedPhotograph:
    """Return the shape of what became of one photograph."""
    if outcome.reference is not None:
        return EnrolledPhotograph.of(outcome.reference)
    assert outcome.error is not None
    return RejectedPhotograph.of(outcome.error)


class Enrolment(Answer):
    gallery: str
    subject: str
    enrolled: int = Field(ge=0)
    results: list[PhotographOutcome] = Field(description="One for each photograph, in the order sent.")

    @classmethod
    def of(cls, answer: answers.Enrolment) -> Self:
        return cls(
            gallery=answer.gallery,
            subject=answer.subject,
            enrolled=sum(outcome.reference is not None for outcome in answer.outcomes),
            results=[photograph_outcome(outcome) for outcome in answer.outcomes],
        )


class AuditEnd(Answer):
    """An end of the audit log: the digest of its last line binds all before it."""

    sequence: int
    digest: str


class Erasure(Answer):
    kind: str
    tenant: str
    gallery: str
    subject: str
    references: list[str]
    photographs: int
    erased_at: str
    remaining: dict[str, int] = Field(description="What was still found afterwards, by where it was looked for.")
    key: str = Field(description="Id of the API key that asked for it.")
    audit: AuditEnd


class Signature(Answer):
    algorithm: Literal["Ed25519"]
    public_key: str = Field(description="Base64.")
    value: str = Field(description="Base64; over the statement as JSON with sorted keys and without spaces, in UTF-8.")

    @classmethod
    def of(cls, made: erasure.Signature) -> Self:
        return cls(algorithm="Ed25519", public_key=_base64(made.public_key), value=_base64(made.value))


class ErasureReceipt(Answer):
    statement: Erasure
    signature: Signature

    @classmethod
    def of(cls, made: erasure.ErasureReceipt) -> Self:
        return cls(statement=Erasure(**made.statement), signature=Signature.of(made.signature))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


class Calibration(Answer):
    """What the error rates rest on."""

    id: str
    data: str = Field(description="What they were measured on.")
    mated: int
    non_mated: int
    smallest_fmr: float = Field(description="The lowest target_fmr that so many comparisons can support.")

    @classmethod
    def of(cls, measured: decide.Calibration) -> Self:
        return cls(
            id=measured.id,
            data=measured.data,
            mated=measured.mated,
            non_mated=measured.non_mated,
            smallest_fmr=measured.smallest_fmr,
        )


class Model(Answer):
    name: str = Field(examples=["fusion"])
    title: str = Field(examples=["SFace and dlib ResNet-29, fused by a triplet-trained head"])
    template_version: TemplateVersion
    dimension: int = Field(examples=[128])
    threshold: float = Field(examples=[1.1])
    largest_distance: float = Field(examples=[4.0])
    fmr_at_threshold: float | None
    fmr_interval: FmrInterval
    calibration: Calibration | None

    @classmethod
    def of(cls, pack: Extractor) -> Self:
        """Return the contract of a pack's templates: version, threshold and what its error rate rests on."""
        known = pack.calibration
        return cls(
            name=pack.pack,
            title=pack.title,
            template_version=pack.template_version,
            dimension=types.DIMENSION,
            threshold=pack.threshold,
            largest_distance=4 * pack.norm**2,
            fmr_at_threshold=known.claimed_fmr(pack.threshold) if known else None,
            fmr_interval=list(known.claimed_interval(pack.threshold)) if known else None,
            calibration=Calibration.of(known) if known else None,
        )
