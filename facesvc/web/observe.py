"""Around every request: an id, one log line, its latency, protective headers, and a last net for failures."""

import re
import sys
from time import perf_counter
from typing import Any
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesvc.core.access import Caller
from facesvc.errors import FaceServiceError
from facesvc.service.disclosure import Alarm
from facesvc.web.errors import problem
from facesvc.web.metrics import Metrics

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
