"""The client of a server that is busy, gone, or no facesvc server at all: a real socket, scripted answers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from facesvc.cli.remote import RemoteBackend, open_remote
from facesvc.core.decide import DecisionRule
from facesvc.errors import RemoteError, RequestError
from facesvc.schemas.galleries import Gallery, Subject

Answer = tuple[int, dict[str, str], object]
AT = "2026-11-21T08:00:00.000Z"
STAFF = Gallery(
    name="staff",
    template_version="sha256:00",
    keep_photographs=False,
    subjects=1,
    references=2,
    templates=2,
    model_change=None,
    revision=3,
    metadata={"team": {"night": 1.5}},
    created_at=AT,
)
OK: Answer = (200, {}, {"items": [STAFF.model_dump()], "next_cursor": None})
BUSY: Answer = (503, {"Retry-After": "0"}, {"code": "overloaded", "detail": "try again"})


@contextmanager
def answering(*script: Answer | None) -> Iterator[tuple[RemoteBackend, list[str]]]:
    """A server that gives these answers in turn (None: hangs up), and the requests it saw."""
    answers, seen = iter(script), []

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append(f"{self.command} {self.path}")
            answer = next(answers)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = respond  # noqa: N815  http.server's names

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output is its assertions."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with open_remote(f"http://127.0.0.1:{server.server_port}") as backend:
                yield backend, seen
        finally:
            server.shutdown()
            thread.join()


def test_a_busy_server_is_asked_again() -> None:
    with answering(BUSY, BUSY, OK) as (backend, seen):
        assert list(backend.galleries()) == [STAFF]
    assert seen == ["GET /v1/galleries?limit=500"] * 3


def test_a_lost_answer_is_asked_for_again_where_that_is_safe() -> None:
    with answering(None, OK) as (backend, seen):
        assert list(backend.galleries()) == [STAFF]
    assert len(seen) == 2


@pytest.mark.parametrize("ask", [lambda b: b.create_gallery("staff"), lambda b: b.delete_gallery("staff")])
def test_a_lost_answer_is_not_asked_for_again_where_it_is_not(ask: Callable[[RemoteBackend], object]) -> None:
    with answering(None) as (backend, seen), pytest.raises(RemoteError) as caught:
        ask(backend)
    assert (caught.value.code, len(seen)) == ("remote_error", 1)


def person(name: str) -> Subject:
    return Subject(
        id=name,
        gallery="a/b ü",
        display_name=None,
        references=0,
        metadata={},
        consent=None,
        expires_at=None,
        created_at=AT,
        updated_at=AT,
    )


def test_pages_are_followed() -> None:
    first: Answer = (200, {}, {"items": [person("a").model_dump()], "next_cursor": "x y"})
    last: Answer = (200, {}, {"items": [person("b").model_dump()], "next_cursor": None})
    with answering(first, last) as (backend, seen):
        assert list(backend.subjects("a/b ü")) == [person("a"), person("b")]
    path = "GET /v1/galleries/a%2Fb%20%C3%BC/subjects?limit=500"
    assert seen == [path, f"{path}&cursor=x+y"]


def test_a_problem_keeps_its_code_and_source() -> None:
    problem = {"code": "no_face", "title": "No face found", "detail": "none in the photograph", "source": "probe"}
    with answering((422, {}, problem)) as (backend, _), pytest.raises(RemoteError) as caught:
        backend.verify(b"a", b"b", "largest", DecisionRule())
    assert (caught.value.code, caught.value.source, caught.value.detail) == ("no_face", "probe", problem["detail"])


def test_a_rejected_photograph_is_an_outcome() -> None:
    rejected = {"status": "rejected", "code": "no_face", "detail": "none"}
    with answering((422, {}, {"code": "no_face", "results": [rejected]})) as (backend, _):
        assert backend.enrol("staff", "ada", b"photograph", "only", True).model_dump() == rejected


def test_a_newer_server_may_say_more() -> None:
    with answering((200, {}, STAFF.model_dump() | {"colour": "red"})) as (backend, _):
        assert backend.gallery("staff") == STAFF


def test_a_receipt_is_taken_whole_or_not_at_all() -> None:
    """Its signature is over all of it."""
    statement = {
        "kind": "facesvc erasure receipt, version 1",
        "tenant": "default",
        "gallery": "staff",
        "subject": "ada",
        "references": ["ref_1"],
        "photographs": 0,
        "erased_at": AT,
        "remaining": {"database": 0},
        "key": "4be07c1a99d2",
        "audit": {"sequence": 1, "digest": "00"},
    }
    signature = {"algorithm": "Ed25519", "public_key": "AA==", "value": "AA=="}
    with answering((200, {}, {"statement": statement, "signature": signature})) as (backend, _):
        assert backend.erase_subject("staff", "ada").model_dump() == {"statement": statement, "signature": signature}
    more = {"statement": statement | {"backups": 1}, "signature": signature}
    with answering((200, {}, more)) as (backend, _), pytest.raises(RemoteError, match="not as a facesvc server does"):
        backend.erase_subject("staff", "ada")


@pytest.mark.parametrize(
    "answer", [(200, {}, b"<html>"), (404, {}, b"not here"), (200, {}, [1]), (500, {}, {"a": 1}), (200, {}, {"a": 1})]
)
def test_another_kind_of_server(answer: Answer) -> None:
    with answering(answer) as (backend, _), pytest.raises(RemoteError, match="not as a facesvc server does"):
        backend.gallery("staff")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:port"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(RequestError, match="--server"), open_remote(url):
        pass
