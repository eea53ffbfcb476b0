"""Around every request: an id, one log line, its latency, protective headers, and a last net for failures.

The service's Prometheus metrics, in a registry of their own per application.

Whether the service can answer: one look at a time, whose result is everybody's for a moment, since anybody may ask
as often as they like.
"""

import asyncio
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any
from uuid import uuid4

import structlog
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesvc.core.access import Caller
from facesvc.core.answers import Enrolment
from facesvc.core.types import LoadedIndex
from facesvc.errors import FaceServiceError, StoreUnavailable
from facesvc.service.disclosure import Alarm
from facesvc.web.errors import problem

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
STAGE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Metrics:
    """Never a label whose values come from outside: routes are templates, codes and stages are fixed sets."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "facesvc_request_seconds",
            "Time to answer a request",
            ("method", "route", "status"),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("facesvc_requests_in_flight", "Requests being answered", registry=self.registry)
        self.decisions = Counter(
            "facesvc_decisions", "Decisions taken", ("operation", "decision"), registry=self.registry
        )
        self.stages = Histogram(
            "facesvc_stage_seconds",
            "Time in a stage of the pipeline, per request",
            ("stage",),
            buckets=STAGE_SECONDS,
            registry=self.registry,
        )
        self.enrolments = Counter(
            "facesvc_enrolments", "Photographs enrolled or refused, by error code", ("outcome",), registry=self.registry
        )
        self.alarms = Counter(
            "facesvc_alarms", "Alarms: canaries that matched", ("alarm", "operation"), registry=self.registry
        )
        self.index_references = Gauge(
            "facesvc_index_references", "References in the indexes in memory", ("kind",), registry=self.registry
        )
        self.index_bytes = Gauge(
            "facesvc_index_bytes", "Memory of their vectors and keys", ("kind",), registry=self.registry
        )
        self.model = Gauge(
            "facesvc_model", "The template version in use (always 1)", ("template_version",), registry=self.registry
        )

    def record_alarm(self, alarm: Alarm) -> None:
        self.alarms.labels("canary", alarm.action).inc()

    def record_indexes(self, loaded: Iterable[LoadedIndex]) -> None:
        """What lies in memory at this moment, by the kind of index."""
        for gauge in (self.index_references, self.index_bytes):
            gauge.clear()
        for index in loaded:
            self.index_references.labels(index.kind).inc(index.references)
            self.index_bytes.labels(index.kind).inc(index.nbytes)

    def record_stages(self, timings_ms: Mapping[str, float]) -> None:
        for stage, milliseconds in timings_ms.items():
            self.stages.labels(stage).observe(milliseconds / 1000)

    def record_decision(self, operation: str, decision: str) -> None:
        self.decisions.labels(operation, decision).inc()

    def record_enrolment(self, answer: Enrolment) -> None:
        for outcome in answer.outcomes:
            self.enrolments.labels("enrolled" if outcome.error is None else outcome.error.code).inc()

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.registry)


REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
CLIENT_GONE = 499
"""nginx's status for a client that hung up before the answer; seen in logs and metrics only."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
API_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}


def json_logger() -> Any:
    """JSON lines on standard error. Its configuration is its own: nothing global changes."""
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


def log_alarm(logger: Any, alarm: Alarm) -> None:
    """A canary matched: the line by which whoever watches the logs learns of it. References are no names."""
    logger.warning(
        "a canary matched",
        alarm="canary",
        operation=alarm.action,
        tenant=alarm.tenant,
        key=alarm.key,
        request_id=alarm.request,
        references=alarm.references,
    )


class Observed:
    """The outermost ASGI middleware."""

    def __init__(self, app: ASGIApp, logger: Any, metrics: Metrics) -> None:
        self.app, self.logger, self.metrics = app, logger, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        with self.metrics.in_flight.track_inprogress():
            try:
                await self.app(scope, receive, exchange.send)
            except ClientDisconnect:
                exchange.status = CLIENT_GONE
            except Exception:
                self.logger.exception("request failed", request_id=exchange.id, route=route_of(scope))
                await exchange.fail(receive)
            finally:
                self._record(exchange)

    def _record(self, exchange: "_Exchange") -> None:
        seconds, route = perf_counter() - exchange.start, route_of(exchange.scope)
        method = exchange.scope["method"] if route != OTHER else "*"
        self.metrics.requests.labels(method, route, exchange.status).observe(seconds)
        self.logger.info(
            "request",
            request_id=exchange.id,
            method=exchange.scope["method"],
            route=route,  # the template: names of subjects are personal data and stay out of the log
            status=exchange.status,
            ms=round(seconds * 1000, 1),
            **_who(exchange.scope),
        )


def _who(scope: Scope) -> dict[str, str | None]:
    """tenant, key: whose the request was, by the API key's id, also where it may not; None where nobody's. claimed_key:
    the id that a key said of itself which was refused. Anybody can say any, so it is nobody's."""
    state = scope["state"]
    caller: Caller | None = state.get("caller")
    who = {"tenant": caller.tenant if caller else None, "key": caller.key if caller else None}
    claimed = state.get("claimed_key")
    return who | {"claimed_key": claimed} if claimed else who


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        asked = Headers(scope=scope).get("x-request-id", "")
        self.id = asked if REQUEST_ID.fullmatch(asked) else uuid4().hex
        self.scope, self.downstream = scope, send
        scope.setdefault("state", {})["request_id"] = self.id
        self.start, self.status, self.started = perf_counter(), 500, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            self._protect(MutableHeaders(scope=message))
        await self.downstream(message)

    async def fail(self, receive: Receive) -> None:
        """Answers 500 without a word about the cause, if it is not too late to answer."""
        if not self.started:
            detail = f"the service failed; the request's id is {self.id}"
            await problem(FaceServiceError(detail))(self.scope, receive, self.send)

    def _protect(self, headers: MutableHeaders) -> None:
        page = is_page(self.scope["path"])
        headers["X-Request-ID"] = self.id
        headers["Content-Security-Policy"] = PAGE_POLICY if page else API_POLICY
        headers["Cache-Control"] = "no-cache" if page else "no-store"  # answers hold personal data
        headers.update(HEADERS)


def is_page(path: str) -> bool:
    return path == "/" or path.startswith("/page/")


OTHER = "other"
"""Static files, and addresses that nothing answers."""


def route_of(scope: Scope) -> str:
    """The template of the route that took the request, e.g. /v1/galleries/{gallery}."""
    route = scope.get("route")
    return getattr(route, "path", OTHER)


KEPT_SECONDS = 1.0
"""How long a look's result is told to others."""
PATIENCE_SECONDS = 5.0
"""A look that takes longer says as much as one that failed."""


class Readiness:
    """For one event loop. However many ask, they take one thread and one of the database's connections."""

    def __init__(self, kept: float = KEPT_SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        self._kept, self._patience = kept, patience
        self._looking: asyncio.Task[str | None] | None = None
        self._since = 0.0

    async def require(self, look: Callable[[], None]) -> None:
        """Raises StoreUnavailable where ``look`` raises anything of ours, or does not come back."""
        now = asyncio.get_running_loop().time()
        if self._looking is None or (self._looking.done() and now - self._since >= self._kept):
            self._since, self._looking = now, asyncio.create_task(_trouble(look))
        try:
            async with asyncio.timeout_at(self._since + self._patience):
                trouble = await asyncio.shield(self._looking)
        except TimeoutError:
            raise StoreUnavailable(f"the database has not answered for {self._patience:g} s") from None
        if trouble is not None:
            raise StoreUnavailable(trouble)


async def _trouble(look: Callable[[], None]) -> str | None:
    """Why it is not ready; None where it is."""
    try:
        await run_in_threadpool(look)
    except FaceServiceError as error:
        return error.detail
    return None
