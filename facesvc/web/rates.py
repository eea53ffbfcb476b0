"""How often may somebody ask: of each API key, and of each address that brings none that is valid.

Counted in memory, by each process for itself: of n processes, n times as much may pass. An address is counted before
anything is done for it, no key is looked up and nothing hashed, and gets that back when its key is valid: guessing
keys comes to a stop, while those who have one share the address with as many others as they like.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from facesvc.core.access import Caller
from facesvc.refusals import RateLimited
from facesvc.web.errors import problem

WINDOW_SECONDS = 60.0
MOST = 100_000
"""Keys and addresses of which counts are held (some 20 MB); the one that asked longest ago is forgotten first."""
IPV6_PREFIX = 64
"""Bits: what one customer of a network gets at least (RFC 6177); within it he has any address he likes."""
UNCOUNTED = ("/healthz", "/readyz")
"""Whoever watches over the service must not be stopped by those who attack it from behind the same proxy."""


class Rates:
    """Counts by a sliding window: this minute's, and of the last minute's the share that the window still covers, as if
    they had come evenly. Constant memory for each, and exact to a few percent. Thread-safe. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._counts: OrderedDict[Hashable, tuple[int, int, int]] = OrderedDict()
        self._lock = Lock()

    def hit(self, who: Hashable, per_minute: int) -> None:
        """Counts one request. Raises RateLimited, which is not counted, where it is one too many."""
        with self._lock:
            window, since = self._now()
            before, current = self._of(who, window)
            if before * (1 - since) + current + 1 > per_minute:
                wait = math.ceil(_wait(before, current, since, per_minute) * WINDOW_SECONDS)
                raise RateLimited(f"more than {per_minute} requests a minute", max(wait, 1))
            self._keep(who, window, before, current + 1)

    def give_back(self, who: Hashable) -> None:
        """Takes back one that was counted."""
        with self._lock:
            window, _ = self._now()
            before, current = self._of(who, window)
            self._keep(who, window, before if current else max(before - 1, 0), max(current - 1, 0))

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

    def _keep(self, who: Hashable, window: int, before: int, current: int) -> None:
        self._counts[who] = (window, before, current)
        self._counts.move_to_end(who)
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)


def _wait(before: int, current: int, since: float, allowed: int) -> float:
    """Minutes until one more request is allowed."""
    if current < allowed:  # when enough of the minute before has left the window
        return 1 - (allowed - current - 1) / before - since
    return 1 - since + max(1 - (allowed - 1) / current, 0)


class AddressRates:
    """ASGI middleware: bounds the requests that come from one address without a valid API key."""

    def __init__(self, app: ASGIApp, per_minute: int, rates: Rates | None = None) -> None:
        self.app, self.per_minute, self.rates = app, per_minute, rates or Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self.app(scope, receive, send)
            return
        who = origin(scope)
        try:
            self.rates.hit(who, self.per_minute)
        except RateLimited as refusal:
            await problem(refusal)(scope, receive, send)
            return
        scope.setdefault("state", {})["known"] = lambda: self.rates.give_back(who)
        await self.app(scope, receive, send)


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
    if known := getattr(request.state, "known", None):
        known()
    allowed = caller.requests_per_minute or request.app.state.settings.requests_per_minute
    request.app.state.rates.hit(caller.key, allowed)
