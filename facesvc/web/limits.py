"""What a request may hold: bytes, time to arrive, and bytes of all requests together. What is fetched for it, by the
addresses that it names, counts as if it had been in its body.

An ASGI middleware that counts while the body streams, so that neither a false Content-Length nor chunked
encoding goes around it. (Starlette's own RequestBodyLimitMiddleware answers in plain text; we owe a problem.)

What a connection may cost: how many there are, and how long one may keep others waiting for its next byte.

uvicorn itself waits for ever for the head of a request and for a client to take its answer: a few thousand idle sockets
would use up the process's file descriptors (Slowloris, CERT/CC VU#867593 and its kind).
"""

import asyncio
from threading import Lock
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from facesvc.errors import Overloaded, RequestTooLarge
from facesvc.pipeline.gate import visiting
from facesvc.web.errors import RequestTimeout, problem

ARRIVAL_SECONDS = 60.0
"""Time in which a body must have arrived whole: a slow client may not hold a connection for ever."""
MOST = 1000
"""Requests that may be worked on at once, unless it is said otherwise."""
ALIVE = "/healthz"
"""Answered whatever else goes on: a process that is busy is not dead."""
BUSY = "too many requests are being worked on; try again in a moment"
BODIES_HELD = 8
"""Requests of full size that may lie in memory at once; further bytes are answered `overloaded`."""


class BodyLimits:
    """Bounds requests to ``max_bytes`` each and BODIES_HELD times that together, and the requests that are worked on to
    ``most``, not counting those whose bodies are still arriving: so many threads there are, and where they all wait,
    for a database that is slow, say, others would queue for them without end."""

    def __init__(
        self, app: ASGIApp, max_bytes: int, arrival_seconds: float = ARRIVAL_SECONDS, most: int = MOST
    ) -> None:
        self.app, self.max_bytes, self.arrival_seconds, self.most = app, max_bytes, arrival_seconds, most
        self.held = self.working = 0
        self._turn = Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _stated_length(scope) > self.max_bytes:
            await problem(self.too_large())(scope, receive, send)
            return
        if self.working >= self.most and scope["path"] != ALIVE:
            await problem(Overloaded(BUSY))(scope, receive, send)
            return
        body = _Body(self, receive)
        scope.setdefault("state", {})["arrived"] = body.arrived
        self.working += 1
        try:
            with visiting():
                await self.app(scope, body.receive, send)
        finally:
            self.working -= 1
            self.hold(-body.size)

    def hold(self, size: int) -> int:
        """Counts bytes in, or out again where there are less than none; how many are held then. Thread-safe."""
        with self._turn:
            self.held += size
            return self.held

    def too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"a request may have at most {self.max_bytes} bytes")


class _Body:
    """One request's body on its way in, and what is fetched for it."""

    def __init__(self, limits: BodyLimits, receive: Receive) -> None:
        self.limits, self.upstream = limits, receive
        self.deadline = asyncio.get_running_loop().time() + limits.arrival_seconds
        self.size, self.complete = 0, False

    async def receive(self) -> Message:
        if self.complete:  # what follows is the wait for the client to hang up
            return await self.upstream()
        self.limits.working -= 1
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.upstream()
        except TimeoutError:
            raise RequestTimeout(f"the body did not arrive within {self.limits.arrival_seconds:g} s") from None
        finally:
            self.limits.working += 1
        if self.limits.working > self.limits.most:
            raise Overloaded(BUSY)
        self.arrived(len(message.get("body", b"")))
        self.complete = not message.get("more_body", False)
        return message

    def arrived(self, size: int) -> None:
        """Counts bytes of the body, or of what is fetched for it; they are held until the request ends. One thread at a
        time is at a request's bytes. Raises RequestTooLarge, Overloaded."""
        self.size += size
        held = self.limits.hold(size)
        if self.size > self.limits.max_bytes:
            raise self.limits.too_large()
        if held > self.limits.max_bytes * BODIES_HELD:
            raise Overloaded("too many photographs are arriving at once; try again in a moment")


def _stated_length(scope: Scope) -> int:
    stated = Headers(scope=scope).get("content-length", "0")
    return int(stated) if stated.isdecimal() else 0


HEAD_SECONDS = 20.0
"""For the head of a request to arrive, from the connection's first moment, or from the first byte after an answer."""
TAKING_SECONDS = 60.0
"""For a client to take what fills the socket's buffers."""
MOST_CONNECTIONS = 800
"""At once; further ones are closed unheard. A process may usually open 1024 files; each connection is one."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 on one connection, with an end to patience."""

    head_seconds, taking_seconds, most_connections = HEAD_SECONDS, TAKING_SECONDS, MOST_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        else:
            self._head = _cancelled(self._head)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self._taking or self.loop.call_later(self.taking_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking = _cancelled(self._taking)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head, self._taking = _cancelled(self._head), _cancelled(self._taking)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head = self._head or self.loop.call_later(self.head_seconds, self.transport.close)


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
