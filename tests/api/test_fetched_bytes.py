"""Photographs that a request names count as if it had brought them. Real servers on this machine, and no model: what
is looked at here comes before it."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from facesvc.config import Settings
from facesvc.web.errors import install_error_handlers
from facesvc.web.fetch import FetchLimits, PhotographFetcher, look_up
from facesvc.web.intake import Intake
from facesvc.web.limits import BODIES_HELD, BodyLimits
from facesvc.web.requests import EnrolJson
from tests.api.conftest import problem
from tests.support.listening import listening

LARGEST = 100_000
"""Bytes of a request."""
SIZE = 30_000
"""Of each photograph."""
intake = Intake[EnrolJson](json=EnrolJson)


class Photographs(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        self.wfile.write(bytes(SIZE))

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def shelf() -> Iterator[int]:
    """The port of a server of photographs."""
    with listening(Photographs) as port:
        yield port


class Service:
    """The intake of an enrolment and the limits around it. working: called while requests are worked on."""

    def __init__(self, port: int) -> None:
        self.port, self.held = port, list[int]()
        app = FastAPI()
        app.state.settings = Settings(max_request_bytes=LARGEST)
        limits = FetchLimits(LARGEST, http=True)
        app.state.fetcher = PhotographFetcher(limits, look_up, {"127.0.0.1"}.__contains__, [port])
        install_error_handlers(app)
        app.add_api_route("/enrol", self.enrol, methods=["POST"])
        self.limits = BodyLimits(app, LARGEST)
        self.release = asyncio.Event()
        self.release.set()

    async def enrol(self, asked: Annotated[EnrolJson, Depends(intake)], request: Request) -> int:
        self.held.append(self.limits.held)
        await self.release.wait()
        return sum(map(len, asked.photographs))

    async def ask(self, links: int) -> httpx.Response:
        transport = httpx.ASGITransport(self.limits)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            url = f"http://127.0.0.1:{self.port}/a.jpg"
            return await client.post("/enrol", json={"images": [{"url": url}] * links})


def test_they_are_held_until_the_request_ends(shelf: int) -> None:
    service = Service(shelf)
    answer = asyncio.run(service.ask(3))
    assert (answer.status_code, answer.json()) == (200, 3 * SIZE)
    assert 3 * SIZE < service.held[0] < 3 * SIZE + 500  # and the body that named them
    assert service.limits.held == 0


def test_a_small_request_for_much(shelf: int) -> None:
    """A few hundred bytes that name more than a request may have."""
    service = Service(shelf)
    answer = asyncio.run(service.ask(32))
    assert (answer.status_code, problem(answer)["code"]) == (413, "request_too_large")
    assert (service.held, service.limits.held) == ([], 0)


def test_those_of_all_requests_together_are_bounded(shelf: int) -> None:
    """Requests that wait for their turn at the pipeline hold what was fetched for them."""

    async def crowd() -> list[httpx.Response]:
        service = Service(shelf)
        service.release.clear()
        waiting: list[asyncio.Task[httpx.Response]] = []
        for number in range(BODIES_HELD + 2):
            waiting.append(asyncio.create_task(service.ask(3)))
            while len(service.held) <= number and not waiting[-1].done():
                await asyncio.sleep(0)
        assert service.limits.held < BODIES_HELD * LARGEST
        service.release.set()
        answers = await asyncio.gather(*waiting)
        assert service.limits.held == 0
        return answers

    answers = asyncio.run(crowd())
    let_in = BODIES_HELD * LARGEST // (3 * SIZE)
    assert [answer.status_code for answer in answers] == [200] * let_in + [503] * (BODIES_HELD + 2 - let_in)
    assert problem(answers[-1])["code"] == "overloaded"
