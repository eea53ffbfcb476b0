"""The pipeline on a cluster: photographs go to its workers, captures come back; the rest of a run stays where it is."""

from dataclasses import dataclass

from facesvc.core.decide import Calibration
from facesvc.core.types import Capture, FaceChoice
from facesvc.pipeline.crew import Crew, Pipeline


@dataclass(frozen=True, slots=True)
class ClusterExtractor:
    """Implements ``core.ports.Extractor`` over a Crew; thread-safe. Every caller waits for a worker of its own, so as
    many photographs are on their way as there are callers.

    pipeline: what the crew's workers run; pack, title, norm, threshold, calibration: of its pack.
    Besides what the pipeline raises, WorkerLost and ClusterUnavailable.
    """

    crew: Crew
    pipeline: Pipeline
    pack: str
    title: str
    norm: float
    threshold: float
    calibration: Calibration | None

    @property
    def template_version(self) -> str:
        return self.pipeline.template_version

    def detect(self, photograph: bytes) -> Capture:
        """See ``core.ports.Extractor.detect``."""
        return self.crew.run(self.pipeline, "detect", photograph)

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        """See ``core.ports.Extractor.extract``."""
        return self.crew.run(self.pipeline, "extract", photograph, choice)
