"""What the service answers, as OpenAPI tells it. The values come from ``facesvc.views``; these check their shape."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

_version = "sha256:4e1f0c3b"
Box = Annotated[
    list[float],
    Field(
        min_length=4,
        max_length=4,
        description="x1 y1 x2 y2, pixels of the upright photograph as sent; may reach beyond its border.",
        examples=[[112.5, 80.25, 301.0, 322.75]],
    ),
]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Distance = Annotated[
    float, Field(ge=0, description="Squared L2 of the two templates, 0 to 4 for unit ones; lower is more alike.")
]
TemplateVersion = Annotated[
    str, Field(description="Digest of the model pack; only templates of one version compare.", examples=[_version])
]
FmrInterval = Annotated[
    Annotated[list[float], Field(min_length=2, max_length=2)] | None,
    Field(
        description="95 % interval of that rate, low and high, over the people it was measured on.",
        examples=[[3e-4, 1.6e-3]],
    ),
]
Timings = Annotated[dict[str, float], Field(examples=[{"decode": 8.1, "detect": 14.0, "embed": 15.2, "total": 38.0}])]


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Quality(Answer):
    """Measures of one face and the codes of the checks it failed."""

    acceptable: bool
    reasons: list[str] = Field(examples=[["face_blurred"]])
    face_size: float = Field(description="Geometric mean of the box's sides, pixels.")
    sharpness: float
    yaw: float = Field(ge=-1, le=1, description="0 is frontal.")
    pitch: float = Field(ge=-1, le=1, description="0 is frontal.")
    roll: float = Field(description="Degrees.")
    brightness: float = Field(ge=0, le=255)
    contrast: float = Field(ge=0)


class FoundFace(Answer):
    box: Box
    landmarks: list[Point] = Field(
        min_length=5, max_length=5, description="The subject's right eye, left eye, nose, right and left mouth corner."
    )
    score: float = Field(description="The detector's own score, 0..1.")
    quality: Quality


class ComparedFace(FoundFace):
    faces_found: int = Field(ge=1, description="Faces in the photograph; one of them was used.")


class NearestReference(Answer):
    """A subject and its reference that lies nearest to the face."""

    subject: str = Field(examples=["ada"])
    display_name: str | None = Field(examples=["Ada Lovelace"])
    distance: Distance
    reference: str = Field(examples=["ref_2b6c"])


class Candidate(NearestReference):
    match: bool = Field(description="distance < threshold")


class Decided(Answer):
    """The threshold, with the error rate it was measured to have."""

    threshold: float = Field(gt=0, examples=[1.1])
    fmr_at_threshold: float | None = Field(
        description="False match rate of one comparison at this threshold; null where never measured.", examples=[7e-4]
    )
    fmr_interval: FmrInterval
    template_version: TemplateVersion
    calibration: str | None = Field(description="Digest of the measurements behind the rate.")


class Verdict(Answer):
    match: bool = Field(description="distance < threshold")
    decision: Literal["match", "no_match", "inconclusive"] = Field(
        description="inconclusive: a face failed its quality checks, whatever the distance."
    )
    distance: Distance
    similarity: float = Field(ge=-1.001, le=1.001, description="The cosine: 1 - distance / 2.")


class Verification(Decided, Verdict):  # fields in this order: verdict, threshold, the rest
    probe: ComparedFace
    reference: ComparedFace | NearestReference
    timings_ms: Timings


class IdentifiedFace(FoundFace):
    decision: Literal["match", "unknown", "inconclusive"]
    candidates: list[Candidate] = Field(description="The nearest subjects, nearest first, matching or not.")


class Identified(Answer):
    gallery: str
    faces: list[IdentifiedFace] = Field(description="Largest first.")
    faces_found: int = Field(ge=1)
    width: int
    height: int


class Identification(Decided, Identified):
    references: int = Field(ge=0, description="References in the gallery; each was compared with every face.")
    fpir_at_threshold: float | None = Field(
        description="How often a stranger would match somebody in this gallery: 1 - (1 - FMR)^references, an upper "
        "estimate. Lower the threshold as galleries grow.",
        examples=[0.03],
    )
    timings_ms: Timings


class Detection(Answer):
    faces: list[FoundFace] = Field(description="Largest first; empty when there is none.")
    faces_found: int = Field(ge=0)
    width: int
    height: int
    timings_ms: Timings


class NewReference(Answer):
    status: Literal["enrolled"]
    reference: str = Field(examples=["ref_2b6c"])


class EnrolledPhotograph(FoundFace, NewReference):
    """The reference that was stored, and the face it was made of."""


class RejectedPhotograph(Answer):
    status: Literal["rejected"]
    code: str = Field(examples=["no_face"])
    detail: str


class Enrolment(Answer):
    gallery: str
    subject: str
    enrolled: int = Field(ge=0)
    results: list[Annotated[EnrolledPhotograph | RejectedPhotograph, Field(discriminator="status")]] = Field(
        description="One for each photograph, in the order sent."
    )


class OtherTemplates(Answer):
    """Templates of another version than the one that answers."""

    template_version: TemplateVersion
    state: Literal["filling", "standby", "leaving"] = Field(
        description="filling: to answer after the cut-over; standby: they did before it; leaving: being deleted."
    )
    templates: int = Field(ge=0)


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


class KeptReference(Answer):
    id: str = Field(examples=["ref_2b6c"])
    subject: str


class Reference(FoundFace, KeptReference):
    template_version: str | None = Field(description="null: without template, left behind by a change of model pack.")
    image_sha256: str
    has_photograph: bool
    created_at: str


class Page(Answer, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last page.")


class Calibration(Answer):
    """What the error rates rest on."""

    id: str
    data: str = Field(description="What they were measured on.")
    mated: int
    non_mated: int
    smallest_fmr: float = Field(description="The lowest target_fmr that so many comparisons can support.")


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


class Health(Answer):
    status: Literal["ok"]
    development: bool = Field(description="Development mode: nobody needs an API key.")


class Readiness(Answer):
    status: Literal["ready"]


class ErrorExplained(Answer):
    code: str = Field(examples=["no_face"])
    title: str
    status: int
    advice: str


class FieldError(Answer):
    field: str = Field(examples=["probe.base64"])
    detail: str


class Problem(BaseModel):
    """RFC 9457. ``code`` is stable; switch on it, not on the texts."""

    type: str = Field(description="Where the code is explained.", examples=["/errors/no_face"])
    title: str = Field(examples=["No face found"])
    status: int = Field(examples=[422])
    code: str = Field(examples=["no_face"])
    detail: str = Field(examples=["no face was found in the photograph"])
    source: str | None = Field(None, description="The input it is about, where there were several.")
    errors: list[FieldError] | None = Field(None, description="invalid_request: field by field.")


class NothingEnrolled(Problem):
    """Every photograph was rejected; code and status are those of the first."""

    gallery: str
    subject: str
    enrolled: Literal[0]
    results: list[RejectedPhotograph]
