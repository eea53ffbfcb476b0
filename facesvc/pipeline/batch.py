"""Micro-batches: faces of callers who wait at the same time go through the networks in one call.

Nobody waits for a batch to fill: a worker takes what is there. Under light load every call is its own batch, under
heavy load batches grow by themselves.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import Embedder
from facesvc.core.types import AlignedFace, Pixels, Vectors
from facesvc.errors import Overloaded


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    faces: Sequence[AlignedFace]
    answer: Future[Vectors] = field(default_factory=Future)


class BatchingEmbedder:
    """An Embedder over another one, behind a bounded queue.

    workers: threads that call ``embedder``; max_batch: faces in one call; capacity: callers that may wait, the next
    one gets Overloaded. ``close`` ends the threads.
    """

    def __init__(self, embedder: Embedder, workers: int = 1, max_batch: int = 8, capacity: int = 256) -> None:
        self.embedder = embedder
        self.template_version = embedder.template_version
        self.max_batch, self.capacity = max_batch, capacity
        self.waiting: deque[_Request] = deque()
        self.changed = Condition()
        self.closed = False
        self.threads = [Thread(target=self._work, name=f"embed-{i}", daemon=True) for i in range(workers)]
        for thread in self.threads:
            thread.start()

    def align(self, pixels: Pixels, landmarks: NDArray[np.float32]) -> AlignedFace:
        """See ``core.ports.Embedder.align``."""
        return self.embedder.align(pixels, landmarks)

    def embed(self, faces: Sequence[AlignedFace]) -> Vectors:
        """See ``core.ports.Embedder.embed``; waits for its turn.

        Raises Overloaded when the queue is full or closed, and what the embedder raises for these very faces.
        """
        request = _Request(faces)
        with self.changed:
            if self.closed:
                raise Overloaded("the service is shutting down")
            if len(self.waiting) >= self.capacity:
                raise Overloaded(f"{self.capacity} callers wait for the embedding network already")
            self.waiting.append(request)
            self.changed.notify()
        return request.answer.result()

    def close(self) -> None:
        """Answers who waits already, refuses newcomers, and returns when the threads have ended."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._take():
            if len(batch) == 1 or not self._answer_together(batch):
                for request in batch:
                    self._answer(request)

    def _take(self) -> list[_Request]:
        """The requests that fit one call, at least one; [] when closed and nobody waits."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            batch: list[_Request] = []
            size = 0
            while self.waiting and (not batch or size + len(self.waiting[0].faces) <= self.max_batch):
                batch.append(self.waiting.popleft())
                size += len(batch[-1].faces)
            return batch

    def _answer_together(self, batch: list[_Request]) -> bool:
        """False where the call failed: then each is asked alone, so that the error finds whom it belongs to."""
        try:
            vectors = self.embedder.embed([face for request in batch for face in request.faces])
        except Exception:
            return False
        ends = np.cumsum([len(request.faces) for request in batch])
        for request, part in zip(batch, np.split(vectors, ends[:-1]), strict=True):
            request.answer.set_result(part)
        return True

    def _answer(self, request: _Request) -> None:
        """One caller's faces, in slices of max_batch: a photograph with a hundred faces keeps memory bounded."""
        starts = range(0, max(len(request.faces), 1), self.max_batch)
        try:
            parts = [self.embedder.embed(request.faces[start : start + self.max_batch]) for start in starts]
            request.answer.set_result(np.concatenate(parts))
        except BaseException as error:  # whatever it is, the caller is waiting for it
            request.answer.set_exception(error)
