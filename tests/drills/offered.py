"""An open-loop client: requests leave when they are due, whether or not the ones before were answered. A client that
waits for its answers would slow down with the service, and hide that it is late."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count

import httpx

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60)
TIMEOUT = httpx.Timeout(60)


@dataclass(frozen=True)
class Answered:
    """status: 0 where there was no answer at all; seconds: from the moment at which the request was due."""

    number: int
    status: int
    seconds: float
    retry_after: str | None


Ask = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]
"""Sends the request of this number."""


async def _answered(client: httpx.AsyncClient, ask: Ask, number: int, due: float) -> Answered:
    try:
        answer = await ask(client, number)
    except httpx.HTTPError:
        return Answered(number, 0, time.monotonic() - due, None)
    return Answered(number, answer.status_code, time.monotonic() - due, answer.headers.get("retry-after"))


async def offer(url: str, headers: Mapping[str, str], ask: Ask, rate: float, seconds: float) -> list[Answered]:
    """``rate`` requests a second, evenly, for so many seconds; all their answers."""
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=LIMITS, timeout=TIMEOUT) as client:
        start, running = time.monotonic(), []
        for number in range(round(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            running.append(asyncio.create_task(_answered(client, ask, number, due)))
        return await asyncio.gather(*running)


async def saturate(url: str, headers: Mapping[str, str], ask: Ask, clients: int, seconds: float) -> list[Answered]:
    """The answers to ``clients`` callers of which each asks again as soon as it is answered."""
    numbers, end = count(), time.monotonic() + seconds

    async def caller(client: httpx.AsyncClient) -> list[Answered]:
        found = []
        while (now := time.monotonic()) < end:
            found.append(await _answered(client, ask, next(numbers), now))
        return found

    async with httpx.AsyncClient(base_url=url, headers=headers, limits=LIMITS, timeout=TIMEOUT) as client:
        return [answer for found in await asyncio.gather(*(caller(client) for _ in range(clients))) for answer in found]


def percentile(seconds: list[float], share: float) -> float:
    """The smallest of these that ``share`` of them do not exceed; 0 where there are none."""
    ordered = sorted(seconds)
    return ordered[min(round(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
