"""What the use cases answer. Each answer carries its threshold, and with it the contract of its distances."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from facesvc.core.decide import Decision, Threshold, false_positive_identification_rate
from facesvc.core.types import Candidate, Capture, Reference, Sample
from facesvc.errors import FaceServiceError


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """1:1. reference: the other photograph, or the subject's nearest reference as a Candidate."""

    decision: Decision
    match: bool
    distance: float
    similarity: float
    threshold: Threshold
    probe: Capture
    reference: Capture | Candidate
    timings: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedFace:
    """1:N for one face. candidates: the nearest subjects, nearest first, at or above the threshold too;
    identified: whether the first of them matches. An empty or too distant list is an explicit unknown."""

    sample: Sample
    candidates: tuple[Candidate, ...]
    threshold: Threshold

    @property
    def identified(self) -> bool:
        return bool(self.candidates) and self.threshold.matches(self.candidates[0].distance)

    @property
    def decision(self) -> Literal["match", "unknown", "inconclusive"]:
        """inconclusive: the sample failed its quality checks."""
        if not self.sample.quality.acceptable:
            return "inconclusive"
        return "match" if self.identified else "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """1:N for a photograph. references: of the gallery, each of which was compared with every face."""

    faces: tuple[IdentifiedFace, ...]
    capture: Capture
    gallery: str
    references: int
    threshold: Threshold
    timings: Mapping[str, float]

    @property
    def fpir(self) -> float | None:
        """Rate at which a stranger would match somebody here, 0..1; None where the FMR is unknown."""
        fmr = self.threshold.fmr
        return None if fmr is None else false_positive_identification_rate(fmr, self.references)


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentOutcome:
    """What became of one photograph: a stored reference, or the error that refused it."""

    reference: Reference | None = None
    error: FaceServiceError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    gallery: str
    subject: str
    outcomes: tuple[EnrolmentOutcome, ...]
