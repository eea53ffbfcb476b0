"""What a connection may cost: how many there are, and how long one may keep others waiting for its next byte.

uvicorn itself waits for ever for the head of a request and for a client to take its answer: a few thousand idle sockets
would use up the process's file descriptors (Slowloris, CERT/CC VU#867593 and its kind).
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

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
