"""The bounded entrance of the pipeline: so many photographs in work, so many waiting, and not one more."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from facesvc.core.decide import Calibration
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice
from facesvc.errors import Overloaded


class Gate:
    """Lets ``workers`` callers in, keeps ``queue`` more waiting, and refuses the rest with Overloaded."""

    def __init__(self, workers: int, queue: int) -> None:
        self.admitted = BoundedSemaphore(workers + queue)
        self.working = BoundedSemaphore(workers)

    @contextmanager
    def enter(self) -> Iterator[None]:
        if not self.admitted.acquire(blocking=False):
            raise Overloaded("too many photographs are waiting; try again in a moment")
        try:
            with self.working:
                yield
        finally:
            self.admitted.release()


class GatedExtractor:
    """An Extractor behind a Gate."""

    def __init__(self, extractor: Extractor, gate: Gate) -> None:
        self.extractor, self.gate = extractor, gate

    @property
    def pack(self) -> str:
        return self.extractor.pack

    @property
    def title(self) -> str:
        return self.extractor.title

    @property
    def template_version(self) -> str:
        return self.extractor.template_version

    @property
    def norm(self) -> float:
        return self.extractor.norm

    @property
    def threshold(self) -> float:
        return self.extractor.threshold

    @property
    def calibration(self) -> Calibration | None:
        return self.extractor.calibration

    def detect(self, photograph: bytes) -> Capture:
        with self.gate.enter():
            return self.extractor.detect(photograph)

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        with self.gate.enter():
            return self.extractor.extract(photograph, choice)
