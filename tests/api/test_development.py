"""Development mode answers this machine alone, and nothing that a page of somebody else's sent."""

import httpx
import pytest

from facesvc.config import Settings
from facesvc.errors import RequestError
from facesvc.web.access import is_local, is_loopback, require_loopback
from tests.api.conftest import problem


def test_nobody_needs_a_key_and_everybody_can_see_so(client: httpx.Client) -> None:
    assert client.get("/healthz").json()["development"] is True
    caller = client.get("/v1/caller").json()
    assert (caller["key"], caller["roles"], caller["development"]) == ("development", ["administer"], True)


@pytest.mark.parametrize("host", ["facesvc.example", "127.0.0.1.example.com", "192.0.2.1:80", "localhost.example", ""])
def test_another_name_is_refused(client: httpx.Client, host: str) -> None:
    """A name of an attacker's that was made to lead here: DNS rebinding."""
    answer = client.get("/v1/galleries", headers={"Host": host})
    assert (problem(answer)["code"], answer.status_code) == ("forbidden", 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.2", "[::1]:8000", "facesvc.localhost"])
def test_names_of_this_machine_are_taken(client: httpx.Client, host: str) -> None:
    assert client.get("/v1/galleries", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://localhost.example.com"])
def test_what_another_page_sends_is_refused(client: httpx.Client, origin: str) -> None:
    answer = client.post("/v1/galleries", json={"name": "planted"}, headers={"Origin": origin})
    assert problem(answer)["code"] == "forbidden"
    assert client.get("/v1/galleries/planted").status_code == 404


def test_what_came_from_elsewhere_is_refused() -> None:
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "headers": headers, "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 5)}
    assert is_local(scope)
    assert not is_local(scope | {"server": ("192.0.2.1", 80)})
    assert not is_local(scope | {"client": ("192.0.2.1", 5)})
    assert not is_local(scope | {"client": None})


@pytest.mark.parametrize(
    ("host", "ours"),
    [("127.0.0.1", True), ("::1", True), ("localhost.", True), ("0.0.0.0", False), ("::", False), ("", False)],
)
def test_loopback(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


def test_it_is_refused_on_another_address() -> None:
    require_loopback(Settings(host="0.0.0.0"))
    with pytest.raises(RequestError):
        require_loopback(Settings(host="0.0.0.0", dev=True))
