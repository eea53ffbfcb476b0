"""The pipeline on a Ray cluster: the cluster of a run, its workers, and the extractor over them.

The workers of a Ray cluster, each a process with the whole pipeline in it. One that is lost is replaced, and what
it had in work is given to another.

The pipeline on a cluster: photographs go to its workers, captures come back; the rest of a run stays where it is.

A Ray cluster for the length of one run: one of the run's own on this machine, or one that is running already.
"""

import logging
import secrets
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from threading import Condition, Thread
from typing import Any

from facesvc.core.compare import require_version
from facesvc.core.decide import Calibration
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice
from facesvc.errors import ClusterUnavailable, FaceServiceError, RequestError, WorkerLost

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


class Workers:
    """``size`` workers, each of which has one photograph in work: whose photograph ends a worker is known for certain.

    Thread-safe. Needs a Ray session (``pipeline.ray``). ``close`` ends the workers.
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


@dataclass(frozen=True, slots=True)
class ClusterExtractor:
    """Implements ``core.ports.Extractor`` over a cluster; thread-safe. Every caller waits for a worker of its own, so
    as many photographs are on their way as there are callers.

    pipeline: what the workers run; pack, title, norm, threshold, calibration: of its pack.
    Besides what the pipeline raises, WorkerLost and ClusterUnavailable.
    """

    workers: Workers
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
        return self.workers.run(self.pipeline, "detect", photograph)

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        """See ``core.ports.Extractor.extract``."""
        return self.workers.run(self.pipeline, "extract", photograph, choice)


ANSWERS = 5.0
"""Seconds in which a cluster's address must answer at all; Ray itself would try for ten minutes."""
LOCAL = "local"
"""Ray's word for a cluster of one's own."""
SHORT = "/tmp"  # noqa: S108  a socket's path has at most 107 bytes, and Ray's part of it takes 70
QUIET: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports to its makers by default
    "RAY_DEDUP_LOGS": "1",  # with the next line: Ray prints what befalls a worker on stdout, which is for results
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leaves CUDA_VISIBLE_DEVICES alone; without it Ray warns of a change
}


def is_own(address: str | None) -> bool:
    """Whether this address asks for a cluster of the run's own."""
    return address in (None, LOCAL)


def variables(address: str | None) -> Mapping[str, str]:
    """What Ray must find in the environment before it starts: it can be told so in no other way.

    A cluster of our own listens on the machine's network, as every Ray cluster does, and runs what it is sent: it
    takes orders only with this run's secret. Its workers have the priority of this process, not Ray's lower one.
    """
    if not is_own(address):
        return QUIET
    return {**QUIET, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}


@cache  # Ray reads it once in a process
def _token() -> str:
    return secrets.token_hex(32)


@contextmanager
def connect(address: str | None, workers: int | None = None) -> Iterator[int]:
    """Yields how many workers there are to be: ``workers``, or one for each CPU of the cluster.

    address: of a running cluster's head node, such as 10.0.0.1:6379; it is left as it is when the context ends, ours
    is stopped. Raises RequestError where Ray is not installed, ClusterUnavailable where there is no such cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RequestError("Ray is not installed: pip install 'facesvc[ray]'") from error

    with ExitStack() as stack:
        options: dict[str, Any] = stack.enter_context(_own(workers)) if is_own(address) else {"address": address}
        try:
            _knock(address)
            ray.init(**options, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises what it likes: ConnectionError, RuntimeError, ValueError, its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ClusterUnavailable(f"Ray cluster {address or LOCAL}: {reason}") from error
        stack.callback(ray.shutdown)
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 0)))


def _knock(address: str | None) -> None:
    """Raises OSError where ``address`` is of a host and port at which nobody listens."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.rpartition("/")[2].strip("[]"), int(port)), ANSWERS).close()


@contextmanager
def _own(workers: int | None) -> Iterator[dict[str, Any]]:
    """How a cluster of our own is started. Its sockets and logs are in a folder that nobody else can enter."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir=SHORT, ignore_cleanup_errors=True) as folder:
        yield {"address": LOCAL, "num_cpus": workers, "include_dashboard": False, "_temp_dir": folder}
