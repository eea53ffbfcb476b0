"""The workers of a Ray cluster, each a process with the whole pipeline in it. One that is lost is replaced, and what
it had in work is given to another."""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any

from facesvc.core.compare import require_version
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture
from facesvc.errors import ClusterUnavailable, FaceServiceError, WorkerLost

ATTEMPTS = 3
"""Workers that one photograph may cost; and workers that are started in one's place before it is given up."""
PATIENCE = 300.0
"""Seconds without any worker after which the cluster counts as gone: a new node first builds its model pack."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline that a worker opens for itself. template_version: of the templates that it must make; open: pickled
    by name, so every node needs the same release installed."""

    template_version: str
    open: Callable[[], AbstractContextManager[Extractor]]


class Worker:
    """What runs in the cluster: an actor of one thread."""

    def __init__(self) -> None:
        self.stack, self.extractors = ExitStack(), dict[str, Extractor]()

    def open(self, pipeline: Pipeline) -> None:
        """Makes the pipeline ready for as long as the process lives. Raises ModelError, TemplateVersionMismatch."""
        if pipeline.template_version not in self.extractors:
            extractor = self.stack.enter_context(pipeline.open())
            require_version(extractor.template_version, pipeline.template_version)
            self.extractors[pipeline.template_version] = extractor

    def run(self, pipeline: Pipeline, method: str, *arguments: Any) -> Capture:
        """What the extractor's ``method`` answers."""
        self.open(pipeline)
        return getattr(self.extractors[pipeline.template_version], method)(*arguments)


class Crew:
    """``size`` workers, each of which has one photograph in work: whose photograph ends a worker is known for certain.

    Thread-safe. Needs a Ray session (``pipeline.session``). ``close`` ends the workers.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = Condition()
        self.free: deque[Any] = deque()
        self.workers: set[Any] = set()  # started, whether ready or not
        self.ready = self.posts = 0  # workers that may have work; those, and the ones about to be
        self.pipelines: list[Pipeline] = []
        self.fault: FaceServiceError | None = None

    def open(self, pipeline: Pipeline) -> None:
        """Returns when a worker has the pipeline ready. Raises what keeps it from that: ModelError,
        TemplateVersionMismatch, ClusterUnavailable."""
        self.pipelines.append(pipeline)
        while self.posts < self.size:
            self.posts += 1
            self._fill_post()
        self._ask("open", pipeline)

    def run(self, pipeline: Pipeline, method: str, *arguments: Any) -> Capture:
        """What ``method`` of the pipeline, in one of the workers, answers or raises.

        Also raises WorkerLost where ATTEMPTS workers came to an end over it, ClusterUnavailable where none is left.
        """
        return self._ask("run", pipeline, method, *arguments)

    def close(self) -> None:
        """Ends the workers. Who waits for one gets ClusterUnavailable."""
        self._fail(ClusterUnavailable("the run has ended"))
        with self.changed:
            workers, self.workers = self.workers, set()
        for worker in workers:
            _end(worker)

    # --- lending -----------------------------------------------------------------------------------------

    def _ask(self, method: str, *arguments: Any) -> Any:
        from ray.exceptions import RayError

        for attempt in range(ATTEMPTS):
            worker = self._take() if attempt == 0 else self._take_living()
            try:
                answer = _answer(getattr(worker, method).remote(*arguments))
            except RayError as error:
                self._replace(worker, error)
            except BaseException:
                self._release(worker)
                raise
            else:
                self._release(worker)
                return answer
        raise WorkerLost(f"{ATTEMPTS} workers came to an end over this photograph")

    def _take(self) -> Any:
        with self.changed:
            while not self.free or self.fault:
                if self.fault:
                    raise self.fault
                if not self.changed.wait(PATIENCE) and not self.ready:
                    raise ClusterUnavailable(f"no worker for {PATIENCE:g} s: has the cluster a free CPU?")
            return self.free.popleft()

    def _take_living(self) -> Any:
        """A worker that has just answered: a photograph isn't blamed for a node that took its workers with it."""
        from ray.exceptions import RayError

        while True:
            worker = self._take()
            try:
                _answer(worker.open.remote(self.pipelines[0]))
            except RayError as error:
                self._replace(worker, error)
            else:
                return worker

    def _release(self, worker: Any) -> None:
        with self.changed:
            self.free.append(worker)
            self.changed.notify()

    # --- hiring ------------------------------------------------------------------------------------------

    def _replace(self, worker: Any, error: Exception) -> None:
        with self.changed:
            self.ready -= 1
            self.workers.discard(worker)
            if self.fault:
                return
        logger.warning("a worker of the cluster was lost (%s), another one takes its place", type(error).__name__)
        _end(worker)
        self._fill_post()

    def _fill_post(self) -> None:
        """In a thread of its own, since it takes as long as the cluster has no free CPU."""
        Thread(target=self._hire, name="hire", daemon=True).start()

    def _hire(self) -> None:
        from ray.exceptions import RayError

        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return self._hire_one()
            except FaceServiceError as error:  # the node lacks something: no photograph is to meet that
                return self._fail(error)
            except RayError as error:
                reason = str(error).strip().partition("\n")[0]
            except Exception as error:
                return self._fail(ClusterUnavailable(f"a worker can't be started: {type(error).__name__}: {error}"))
        self._abandon_post(ClusterUnavailable(f"workers of the cluster are lost as they start: {reason}"))

    def _hire_one(self) -> None:
        import ray

        actor: Any = ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(Worker)
        worker = actor.remote()
        with self.changed:
            if self.fault:
                return
            self.workers.add(worker)
        try:
            for pipeline in tuple(self.pipelines):
                _answer(worker.open.remote(pipeline))
        except BaseException:
            with self.changed:
                self.workers.discard(worker)
            raise
        with self.changed:
            self.ready += 1
        self._release(worker)

    def _fail(self, fault: FaceServiceError) -> None:
        with self.changed:
            self.fault = self.fault or fault
            self.changed.notify_all()

    def _abandon_post(self, fault: ClusterUnavailable) -> None:
        """Goes on with one worker less, if there are others."""
        with self.changed:
            self.posts -= 1
            is_last = not self.posts
        if is_last:
            self._fail(fault)


def _answer(reference: Any) -> Any:
    """Waits for a worker's answer. Raises what the worker raised, and RayError where no answer will come."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error


def _end(worker: Any) -> None:
    import ray

    with suppress(Exception):  # gone already or out of reach, as its whole cluster may be
        ray.kill(worker)
