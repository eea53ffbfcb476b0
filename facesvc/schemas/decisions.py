"""Verification, identification and detection, with the faces that they are about.

Coordinates are pixels of the photograph as sent, rounded to 0.01; distances are squared L2, unrounded.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from facesvc.core import answers, decide, types
from facesvc.schemas.base import Answer, FmrInterval, TemplateVersion

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
Timings = Annotated[dict[str, float], Field(examples=[{"decode": 8.1, "detect": 14.0, "embed": 15.2, "total": 38.0}])]


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

    @classmethod
    def of(cls, measured: types.Quality) -> Self:
        return cls(
            acceptable=measured.acceptable,
            reasons=list(measured.reasons),
            face_size=round(measured.face_size, 1),
            sharpness=round(measured.sharpness, 2),
            yaw=round(measured.yaw, 3),
            pitch=round(measured.pitch, 3),
            roll=round(measured.roll, 1),
            brightness=round(measured.brightness, 1),
            contrast=round(measured.contrast, 1),
        )


class Face(Answer):
    """Fields of every shape that has a face."""

    box: Box
    landmarks: list[Point] = Field(
        min_length=5, max_length=5, description="The subject's right eye, left eye, nose, right and left mouth corner."
    )
    score: float = Field(description="The detector's own score, 0..1.")
    quality: Quality


def face_fields(sample: types.Sample) -> dict[str, Any]:
    """Return the values of Face's fields for ``sample``."""
    found = sample.face
    return {
        "box": _rounded(found.box),
        "landmarks": _rounded(found.landmarks),
        "score": round(found.score, 4),
        "quality": Quality.of(sample.quality),
    }


class FoundFace(Face):
    @classmethod
    def of(cls, sample: types.Sample) -> Self:
        return cls(**face_fields(sample))


class ComparedFace(Face):
    faces_found: int = Field(ge=1, description="Faces in the photograph; one of them was used.")

    @classmethod
    def of(cls, capture: types.Capture) -> Self:
        return cls(**face_fields(capture.samples[0]), faces_found=capture.faces_found)


class Neighbour(Answer):
    """Fields of a subject near to a face, and of its reference that lies nearest."""

    subject: str = Field(examples=["ada"])
    display_name: str | None = Field(examples=["Ada Lovelace"])
    distance: Distance
    reference: str = Field(examples=["ref_2b6c"])


def neighbour_fields(found: types.Candidate) -> dict[str, Any]:
    """Return the values of Neighbour's fields for ``found``."""
    return {
        "subject": found.subject,
        "display_name": found.display_name,
        "distance": found.distance,
        "reference": found.reference,
    }


class NearestReference(Neighbour):
    """A subject and its reference that lies nearest to the face."""

    @classmethod
    def of(cls, found: types.Candidate) -> Self:
        return cls(**neighbour_fields(found))


class Candidate(Neighbour):
    match: bool = Field(description="distance < threshold")

    @classmethod
    def of(cls, found: types.Candidate, threshold: decide.Threshold) -> Self:
        return cls(**neighbour_fields(found), match=threshold.matches(found.distance))


class Decided(Answer):
    """The threshold, with the error rate it was measured to have."""

    threshold: float = Field(gt=0, examples=[1.1])
    fmr_at_threshold: float | None = Field(
        description="False match rate of one comparison at this threshold; null where never measured.", examples=[7e-4]
    )
    fmr_interval: FmrInterval
    template_version: TemplateVersion
    calibration: str | None = Field(description="Digest of the measurements behind the rate.")


def threshold_fields(chosen: decide.Threshold) -> dict[str, Any]:
    """Return the values of Decided's fields for the threshold ``chosen``."""
    return {
        "threshold": chosen.value,
        "fmr_at_threshold": chosen.fmr,
        "fmr_interval": list(chosen.fmr_interval) if chosen.fmr_interval else None,
        "template_version": chosen.template_version,
        "calibration": chosen.calibration,
    }


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

    @classmethod
    def of(cls, answer: answers.Verification) -> Self:
        reference = answer.reference
        return cls(
            match=answer.match,
            decision=answer.decision.value,
            distance=answer.distance,
            similarity=answer.similarity,
            **threshold_fields(answer.threshold),
            probe=ComparedFace.of(answer.probe),
            reference=(
                NearestReference.of(reference) if isinstance(reference, types.Candidate) else ComparedFace.of(reference)
            ),
            timings_ms=_rounded_timings(answer.timings),
        )


class IdentifiedFace(Face):
    decision: Literal["match", "unknown", "inconclusive"]
    candidates: list[Candidate] = Field(description="The nearest subjects, nearest first, matching or not.")

    @classmethod
    def of(cls, face: answers.IdentifiedFace) -> Self:
        return cls(
            **face_fields(face.sample),
            decision=face.decision,
            candidates=[Candidate.of(found, face.threshold) for found in face.candidates],
        )


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

    @classmethod
    def of(cls, answer: answers.Identification) -> Self:
        return cls(
            gallery=answer.gallery,
            faces=[IdentifiedFace.of(face) for face in answer.faces],
            faces_found=answer.capture.faces_found,
            width=answer.capture.width,
            height=answer.capture.height,
            **threshold_fields(answer.threshold),
            references=answer.references,
            fpir_at_threshold=answer.fpir,
            timings_ms=_rounded_timings(answer.timings),
        )


class Detection(Answer):
    faces: list[FoundFace] = Field(description="Largest first; empty when there is none.")
    faces_found: int = Field(ge=0)
    width: int
    height: int
    timings_ms: Timings

    @classmethod
    def of(cls, capture: types.Capture) -> Self:
        return cls(
            faces=[FoundFace.of(sample) for sample in capture.samples],
            faces_found=capture.faces_found,
            width=capture.width,
            height=capture.height,
            timings_ms=_rounded_timings(capture.timings),
        )


def _rounded(values: NDArray[np.float32]) -> list[Any]:
    """Return ``values`` as nested lists, to 0.01; rounded as float64, so that the decimals are short."""
    return np.round(values.astype(np.float64), 2).tolist()


def _rounded_timings(measured: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(milliseconds, 3) for stage, milliseconds in measured.items()}
