"""Idempotency-Key: an enrolment whose answer was lost can be sent again, and is done once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import httpx
import pytest

from facesvc.web.intake import ticket
from tests.api.conftest import Part, problem, references
from tests.support.live import Live, serve

Parts = Callable[[str, str], Part]
Send = Callable[..., httpx.Response]


@pytest.fixture
def key() -> str:
    return f'"{uuid4()}"'


@pytest.fixture
def send(client: httpx.Client, part: Parts, gallery: str) -> Send:
    """send(key, "obama", ...) enrols photographs as obama."""

    def send(key: str, *names: str, client: httpx.Client = client, **data: Any) -> httpx.Response:
        files = [part("images", name) for name in names]
        address = references(gallery, data.pop("subject", "obama"))
        return client.post(address, files=files, data=data, headers={"Idempotency-Key": key})

    return send


def told(answer: httpx.Response) -> tuple[int, bytes, str | None, str]:
    """What of an answer must be the same each time."""
    return answer.status_code, answer.content, answer.headers.get("location"), answer.headers["content-type"]


def revision(client: httpx.Client, gallery: str) -> int:
    return client.get(f"/v1/galleries/{gallery}").json()["revision"]


def test_the_same_request_gets_the_same_answer(client: httpx.Client, send: Send, gallery: str, key: str) -> None:
    first = send(key, "obama", "no_face", "obama2")
    assert first.status_code == 201
    assert [result["status"] for result in first.json()["results"]] == ["enrolled", "rejected", "enrolled"]
    again = send(key, "obama", "no_face", "obama2")
    assert told(again) == told(first)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert revision(client, gallery) == 1


def test_with_or_without_a_key_the_answer_is_the_same(
    client: httpx.Client, send: Send, part: Parts, gallery: str, key: str
) -> None:
    keyed = send(key, "obama")
    plain = client.post(references(gallery, "obama"), files=[part("images", "obama")])
    assert told(plain) == told(keyed)


def test_another_process_gives_the_same_answer(live: Live, send: Send, key: str) -> None:
    first = send(key, "obama")
    with serve(live.settings) as other:
        assert told(send(key, "obama", client=other.client)) == told(first)


@pytest.mark.parametrize("change", [{"face": "largest"}, {"strict": "false"}, {"subject": "barack"}, {}])
def test_another_request_is_refused(
    client: httpx.Client, send: Send, gallery: str, key: str, change: dict[str, str]
) -> None:
    assert send(key, "obama").status_code == 201
    names = ("obama",) if change else ("obama2",)
    refused = send(key, *names, **change)
    assert (refused.status_code, problem(refused)["code"]) == (422, "idempotency_key_reused")
    assert revision(client, gallery) == 1


def test_form_and_json_are_one_request(client: httpx.Client, send: Send, encoded: Any, gallery: str, key: str) -> None:
    first = send(key, "obama")
    body = {"images": [encoded("obama")], "face": "only", "strict": True}
    assert told(client.post(references(gallery, "obama"), json=body, headers={"Idempotency-Key": key})) == told(first)


def test_nothing_enrolled_is_answered_again(client: httpx.Client, send: Send, gallery: str, key: str) -> None:
    first = send(key, "no_face", "group")
    assert (first.status_code, problem(first)["code"]) == (422, "no_face")
    assert told(send(key, "no_face", "group")) == told(first)
    assert revision(client, gallery) == 0


def test_a_failure_is_forgotten(client: httpx.Client, part: Parts, key: str) -> None:
    gallery = f"g-{uuid4().hex[:12]}"

    def send() -> httpx.Response:
        files = [part("images", "obama")]
        return client.post(references(gallery, "obama"), files=files, headers={"Idempotency-Key": key})

    assert problem(send())["code"] == "gallery_not_found"
    client.post("/v1/galleries", json={"name": gallery})
    assert send().status_code == 201


def test_what_was_deleted_is_not_told_again(client: httpx.Client, send: Send, gallery: str, key: str) -> None:
    first = send(key, "obama")
    assert client.delete(first.headers["location"]).status_code == 204
    again = send(key, "obama")
    assert again.status_code == 201
    assert again.headers["location"] != first.headers["location"]


def test_one_of_several_at_once_does_it(client: httpx.Client, send: Send, gallery: str, key: str) -> None:
    start = Barrier(4)

    def at_once(_: int) -> httpx.Response:
        start.wait()
        return send(key, "obama", "obama2", "obama3", "biden")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(at_once, range(4)))
    assert {answer.status_code for answer in answers} == {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            assert (problem(answer)["code"], answer.headers["retry-after"]) == ("idempotency_key_in_use", "1")
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert revision(client, gallery) == 1
    assert send(key, "obama", "obama2", "obama3", "biden").status_code == 201


@pytest.mark.parametrize("key", ["x" * 256, "ä", "\x7f", "a\tb"])
def test_keys_that_are_none(send: Send, key: str) -> None:
    answer = send(key.encode("latin-1"), "obama")  # type: ignore[arg-type]  # as bytes, or httpx would refuse it
    assert answer.status_code == 422
    assert [error["field"] for error in problem(answer)["errors"]] == ["header.Idempotency-Key"]


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ('"abc"', "abc", True),
        (r'"a\"b\\c"', r'a"b\c', True),
        ('"abc', "abc", False),
        ('"a"b"', 'a"b', False),
        ("abc", "ABC", False),
    ],
)
def test_quoted_or_bare(one: str, another: str, same: bool) -> None:
    first, second = (ticket("4be07c1a99d2", key, ("staff", True), [b"photograph"]) for key in (one, another))
    assert (first.key == second.key) is same
    assert first.request == second.request


def test_requests_differ_by_every_part() -> None:
    tickets = [
        ticket("4be07c1a99d2", "k", parts, files)
        for parts, files in (
            (("staff", "ada", "only", True), [b"1", b"2"]),
            (("staff", "ada", "only", True), [b"2", b"1"]),
            (("staff", "ada", "only", True), [b"12"]),
            (("staff", "ada", "only", False), [b"1", b"2"]),
            (("staffada", "", "only", True), [b"1", b"2"]),
        )
    ]
    assert len({found.request for found in tickets}) == 5
    assert len({found.key for found in tickets}) == 1


def test_each_caller_has_names_of_its_own() -> None:
    first, second = (ticket(caller, "k", ("staff",), [b"1"]) for caller in ("4be07c1a99d2", "09af3376bb10"))
    assert first.key != second.key
    assert first.request == second.request
