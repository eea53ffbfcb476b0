"""An open-loop client: requests leave when they are due, whether or not the ones before were answered. A client that
waits for its answers would slow down with the service, and hide that it is late.

By aiohttp: the pool of httpx walks all its connections at each request, and with some hundred of them is itself what is
late (github.com/encode/httpx/issues/3215).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=60)
KEEPALIVE_SECONDS = 60


@dataclass(frozen=True)
class Answered:
    """status: 0 where there was no answer at all; seconds: from the moment at which the request was due."""

    number: int
    status: int
    seconds: float
    retry_after: str | None


Ask = Callable[[aiohttp.ClientSession, int], AbstractAsyncContextManager[aiohttp.ClientResponse]]
"""Sends the request of this number."""


def _client(url: str, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    connections = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    return aiohttp.ClientSession(url, headers=headers, connector=connections, timeout=TIMEOUT)


async def _answered(client: aiohttp.ClientSession, ask: Ask, number: int, due: float) -> Answered:
    try:
        async with ask(client, number) as answer:
            await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        return Answered(number, 0, time.monotonic() - due, None)
    return Answered(number, answer.status, time.monotonic() - due, answer.headers.get("retry-after"))


async def offer(url: str, headers: Mapping[str, str], ask: Ask, rate: float, seconds: float) -> list[Answered]:
    """``rate`` requests a second, evenly, for so many seconds; all their answers."""
    async with _client(url, headers) as client:
        start, running = time.monotonic(), []
        for number in range(round(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            running.append(asyncio.create_task(_answered(client, ask, number, due)))
        return await asyncio.gather(*running)


async def saturate(url: str, headers: Mapping[str, str], ask: Ask, clients: int, seconds: float) -> list[Answered]:
    """The answers to ``clients`` callers of which each asks again as soon as it is answered."""
    numbers, end = count(), time.monotonic() + seconds

    async def caller(client: aiohttp.ClientSession) -> list[Answered]:
        found = []
        while (now := time.monotonic()) < end:
            found.append(await _answered(client, ask, next(numbers), now))
        return found

    async with _client(url, headers) as client:
        return [answer for found in await asyncio.gather(*(caller(client) for _ in range(clients))) for answer in found]


def percentile(seconds: list[float], share: float) -> float:
    """The smallest of these that ``share`` of them do not exceed; 0 where there are none."""
    ordered = sorted(seconds)
    return ordered[min(round(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
