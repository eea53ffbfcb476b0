"""How often may somebody ask: of each API key, and of each address that brings none that is valid.

Counted in memory, by each process for itself: of n processes, n times as much may pass. An address is counted before
anything is done for it, no key is looked up in the database, and gets that back when its key is valid: guessing keys
comes to a stop. Keys that were valid a moment ago pass by that count, so that nobody who shares their address, behind a
proxy or a router, can shut them out.
"""

import math
import secrets
import time
from collections.abc import Callable, Hashable
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock

from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesvc.core.access import Caller
from facesvc.errors import RateLimited, Unauthenticated
from facesvc.web.errors import problem, status_of

WINDOW_SECONDS = 60.0
MOST_KNOWN = 10_000
"""Keys that are remembered as valid."""
MOST = 100_000
"""Keys and addresses of which counts are held (some 20 MB); the one that asked longest ago is forgotten first."""
IPV6_PREFIX = 64
"""Bits: what one customer of a network gets at least (RFC 6177); within it he has any address he likes."""
UNAUTHENTICATED = status_of(Unauthenticated)
UNCOUNTED = ("/healthz", "/readyz")
"""Whoever watches over the service must not be stopped by those who attack it from behind the same proxy."""


class Rates:
    """Counts by a sliding window: this minute's, and of the last minute's the share that the window still covers, as if
    they had come evenly. Constant memory for each, and exact to a few percent. Thread-safe. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._clock = clock
        self._counts: LRUCache[Hashable, tuple[int, int, int]] = LRUCache(most)
        self._lock = Lock()

    def hit(self, who: Hashable, per_minute: int) -> None:
        """Counts one request. Raises RateLimited, which is not counted, where it is one too many."""
        with self._lock:
            window, since = self._now()
            before, current = self._of(who, window)
            if before * (1 - since) + current + 1 > per_minute:
                wait = math.ceil(_wait(before, current, since, per_minute) * WINDOW_SECONDS)
                raise RateLimited(f"more than {per_minute} requests a minute", max(wait, 1))
            self._counts[who] = (window, before, current + 1)

    def give_back(self, who: Hashable) -> None:
        """Takes back one that was counted."""
        with self._lock:
            window, _ = self._now()
            before, current = self._of(who, window)
            self._counts[who] = (window, before if current else max(before - 1, 0), max(current - 1, 0))

    def _now(self) -> tuple[int, float]:
        """The number of the minute, and how much of it has passed (0..1)."""
        since, window = math.modf(self._clock() / WINDOW_SECONDS)
        return int(window), since

    def _of(self, who: Hashable, window: int) -> tuple[int, int]:
        """Requests in the minute before and in this one."""
        counted, before, current = self._counts.get(who, (window, 0, 0))
        if counted == window:
            return before, current
        return (current, 0) if counted == window - 1 else (0, 0)


def _wait(before: int, current: int, since: float, allowed: int) -> float:
    """Minutes until one more request is allowed."""
    if current < allowed:  # when enough of the minute before has left the window
        return 1 - (allowed - current - 1) / before - since
    return 1 - since + max(1 - (allowed - 1) / current, 0)


class AddressRates:
    """ASGI middleware: bounds the requests that come from one address without a valid API key."""

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self.app, self.per_minute, self.rates, self.known = app, per_minute, Rates(), Known()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self.app(scope, receive, send)
            return
        who, key = origin(scope), self.known.fingerprint(Headers(scope=scope).get("authorization", ""))
        counted = key not in self.known
        try:
            if counted:
                self.rates.hit(who, self.per_minute)
        except RateLimited as refusal:
            await problem(refusal)(scope, receive, send)
            return

        def valid() -> None:
            self.known.add(key)
            if counted:
                self.rates.give_back(who)

        async def seen(message: Message) -> None:
            if message.get("status") == UNAUTHENTICATED:
                self.known.discard(key)
            await send(message)

        scope.setdefault("state", {})["valid"] = valid
        await self.app(scope, receive, seen)


class Known:
    """The API keys that were valid when they last came, by fingerprints that are good for this process alone."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._secret = secrets.token_bytes(32)
        self._keys: LRUCache[bytes, None] = LRUCache(most)

    def fingerprint(self, text: str) -> bytes:
        return blake2b(text.encode(), key=self._secret, digest_size=16).digest()

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def add(self, key: bytes) -> None:
        self._keys[key] = None

    def discard(self, key: bytes) -> None:
        self._keys.pop(key, None)


def origin(scope: Scope) -> str:
    """The client's address: of IPv6 the network that it is in, "" where there is none (a Unix socket)."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((address.packed, IPV6_PREFIX), strict=False))
    return str(address)


def count_caller(request: Request, caller: Caller) -> None:
    """Counts a request whose key turned out to be valid. Raises RateLimited."""
    if valid := getattr(request.state, "valid", None):
        valid()
    allowed = caller.requests_per_minute or request.app.state.settings.requests_per_minute
    request.app.state.rates.hit(caller.key, allowed)
