"""The bounded entrance of the pipeline: so many photographs in work, so many waiting, and not one more.

One request's photographs belong together: once the first was let in, the others are not turned away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from time import perf_counter

from facesvc.core.decide import Calibration
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice
from facesvc.errors import Overloaded
from facesvc.threads import Turns


class Visit:
    """A request on its way through the service, whichever threads work on it."""

    def __init__(self) -> None:
        self.admitted = False


_current: ContextVar[Visit | None] = ContextVar("visit", default=None)


@contextmanager
def visiting() -> Iterator[Visit]:
    """What is done within, also in threads that are handed this context, is of one visit."""
    token = _current.set(visit := Visit())
    try:
        yield visit
    finally:
        _current.reset(token)


def current_visit() -> Visit:
    """The visit that this is a part of; one of its own where there is none."""
    return _current.get() or Visit()


BUSY = "too many photographs are waiting; try again in a moment"
MEMORY = 0.1
"""Share of the latest photograph in the mean time of one (an exponentially weighted moving average)."""


MARGIN = 0.4
"""Share of their patience that callers are let wait by expectation: photographs differ, and so does what else the cores
do; who is let in should hardly ever wait in vain."""


class Gate:
    """Lets ``workers`` callers in, and keeps ``queue`` more waiting while they can expect their turn well within
    ``patience`` seconds, by the mean time of the photographs before; it comes in the order of their arrival. It refuses
    the rest with Overloaded: at once, so that they can ask elsewhere, and so that what is accepted is answered in time
    however much is asked. patience: None for commands, whose own photographs wait for each other for as long as it
    takes.

    Of a visit (``pipeline.gate``) that has been let in, no further photograph is refused: the work on the first ones
    would be lost, and under load few requests with several would ever be done.
    """

    def __init__(self, workers: int, queue: int, patience: float | None) -> None:
        self.workers, self.queue, self.patience = workers, queue, patience
        self.working = Turns(workers)
        self.lock, self.present, self.mean_seconds = Lock(), 0, 0.0

    @contextmanager
    def enter(self) -> Iterator[None]:
        visit = current_visit()
        self._admit(visit.admitted)
        try:
            if not self.working.take(None if visit.admitted else self.patience):
                raise Overloaded(BUSY)
            visit.admitted = True
            start = perf_counter()
            try:
                yield
            finally:
                self._learn(perf_counter() - start)
                self.working.give_back()
        finally:
            with self.lock:
                self.present -= 1

    def _admit(self, already: bool) -> None:
        with self.lock:
            before = self.present - self.workers + 1  # those whose end brings the turn
            if not already and before > 0 and (before > self.queue or self._is_late(before)):
                raise Overloaded(BUSY)
            self.present += 1

    def _is_late(self, before: int) -> bool:
        """Whether who has so many before him would probably wait too long."""
        return self.patience is not None and before * self.mean_seconds / self.workers > MARGIN * self.patience

    def _learn(self, seconds: float) -> None:
        with self.lock:
            self.mean_seconds += (seconds - self.mean_seconds) * (MEMORY if self.mean_seconds else 1.0)


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
