"""A server with limits that can be reached, and callers who try."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from facesvc.bootstrap import open_tenants
from facesvc.bootstrap.database import open_database
from facesvc.core.access import DEFAULT_TENANT, IssuedKey, Rights, Role
from facesvc.service.disclosure import Alarm
from facesvc.web.app import create_app
from facesvc.web.fetch import FetchLimits, PhotographFetcher, look_up
from facesvc.web.observe import json_logger, log_alarm
from tests.api.conftest import problem, references
from tests.support.keyed import Keyed, serve_keyed
from tests.support.listening import listening
from tests.support.live import listen, served_settings

pytestmark = pytest.mark.xdist_group("abuse")  # one worker: what they share is started once

ATTEMPTS = 12
"""Of one address without a valid key, a minute."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Iterator[Keyed]:
    data = tmp_path_factory.mktemp("guarded") / "data"
    data.mkdir()
    with serve_keyed(data, default_packs, requests_per_minute_per_address=ATTEMPTS) as running:
        yield running


def issued(guarded: Keyed, *roles: Role, requests: int | None = None, identities: int | None = None) -> IssuedKey:
    rights = Rights(frozenset(roles), requests_per_minute=requests, identities_per_day=identities)
    with open_database(guarded.settings) as database:
        return database.api_keys.issue(DEFAULT_TENANT, rights)


def test_a_key_has_its_own_limit(guarded: Keyed) -> None:
    with guarded.client(issued(guarded, Role.ENROL, requests=5)) as client:
        answers = [client.get("/v1/galleries") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    document = problem(answers[-1])
    assert (document["code"], document["detail"]) == ("rate_limited", "more than 5 requests a minute")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 120


@pytest.mark.parametrize("path", ["detect", "identify"])
def test_photographs_are_not_fetched_unless_that_is_on(guarded: Keyed, path: str) -> None:
    with guarded.client(issued(guarded, Role.ADMINISTER)) as client:
        answer = client.post(f"/v1/{path}", json={"image": {"url": "https://example.org/a.jpg"}})
    assert (answer.status_code, problem(answer)["code"]) == (422, "image_url_refused")


@pytest.mark.parametrize("image", [{}, {"base64": "YQ==", "url": "https://example.org/a.jpg"}, {"url": None}])
def test_a_photograph_or_its_address(guarded: Keyed, image: dict[str, str]) -> None:
    with guarded.client(issued(guarded, Role.ADMINISTER)) as client:
        document = problem(client.post("/v1/detect", json={"image": image}))
    assert (document["status"], document["errors"]) == (
        422,
        [{"field": "image", "detail": "give either base64 or url"}],
    )


@pytest.mark.slow
def test_a_photograph_by_its_address(
    tmp_path: Path, default_packs: Path, encoded: Callable[[str], dict[str, str]], samples: Path
) -> None:
    settings = served_settings(tmp_path / "data", default_packs, image_urls=True)
    app = create_app(settings, partial(open_tenants, settings, serving=True))
    limits = FetchLimits(max_bytes=2**20, http=True)
    with listen(app) as url, httpx.Client(base_url=url, timeout=60) as client, shelf(samples / "people/obama") as port:
        inside = client.post("/v1/detect", json={"image": {"url": "https://127.0.0.1/a.jpg"}})
        app.state.fetcher = PhotographFetcher(limits, look_up, {"127.0.0.1"}.__contains__, [port])
        linked = {"url": f"http://127.0.0.1:{port}/obama.jpg"}
        both = client.post("/v1/verify", json={"probe": linked, "reference": encoded("obama2")})
        files = client.post("/v1/verify", json={"probe": encoded("obama"), "reference": encoded("obama2")})
        enrolled = client.post(references("default", "o"), json={"images": [linked, encoded("obama2")]})
    assert (inside.status_code, problem(inside)["detail"]) == (422, "the address is not one of the public internet")
    assert both.json()["distance"] == files.json()["distance"]
    assert [result["status"] for result in enrolled.json()["results"]] == ["enrolled"] * 2


@contextmanager
def shelf(folder: Path) -> Iterator[int]:
    """The port of a server of a folder's files."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with listening(handler) as port:
        yield port


@pytest.fixture(scope="module")
def staff(guarded: Keyed, photographs: dict[str, bytes]) -> str:
    """A gallery of three people, of whom one is a canary."""
    with guarded.client(issued(guarded, Role.ADMINISTER)) as client:
        assert client.post("/v1/galleries", json={"name": "staff"}).status_code == 201
        for subject, name in (("ada", "obama"), ("bob", "biden"), ("nobody", "astronaut")):
            files = [("images", ("a.jpg", photographs[name]))]
            assert client.post(references("staff", subject), files=files).status_code == 201
        assert client.put("/v1/galleries/staff/subjects/nobody/canary").status_code == 204
    return "staff"


def identified(client: httpx.Client, photograph: bytes, top_k: int) -> httpx.Response:
    return client.post("/v1/identify", files={"image": photograph}, data={"gallery": "staff", "top_k": str(top_k)})


def test_an_identity_budget(guarded: Keyed, staff: str, photographs: dict[str, bytes]) -> None:
    with guarded.client(issued(guarded, Role.IDENTIFY, identities=2)) as client:
        assert [len(identified(client, photographs["obama2"], 1).json()["faces"][0]["candidates"]) for _ in "ab"] == [
            1,
            1,
        ]
        spent = identified(client, photographs["biden"], 3)  # Bob, and two who are not like him
        assert (spent.status_code, problem(spent)["code"]) == (429, "identity_budget_spent")
        assert 1 <= int(spent.headers["retry-after"]) <= 86_400
        assert "bob" not in spent.text
        assert identified(client, photographs["biden"], 1).status_code == 200
        assert identified(client, photographs["astronaut"], 1).status_code == 429
        assert identified(client, photographs["obama"], 1).status_code == 200  # of her it knows already
    with guarded.client(issued(guarded, Role.IDENTIFY)) as client:
        assert len(identified(client, photographs["biden"], 3).json()["faces"][0]["candidates"]) == 3


def test_a_canary(guarded: Keyed, staff: str, photographs: dict[str, bytes]) -> None:
    against = {"subject": "nobody", "gallery": "staff"}
    with guarded.client(issued(guarded, Role.IDENTIFY, Role.VERIFY)) as client:
        other = identified(client, photographs["obama"], 3)
        assert alarms(guarded) == {}  # it is among the candidates, but does not match
        found = identified(client, photographs["astronaut"], 3)
        verified = client.post("/v1/verify", files={"probe": photographs["astronaut"]}, data=against)
    assert verified.json()["match"] is True
    assert alarms(guarded) == {("canary", "identify"): 1.0, ("canary", "verify"): 1.0}
    assert shape(found.json()) == shape(other.json())  # the answer is as any other
    assert dict(found.headers).keys() == dict(other.headers).keys()


def alarms(guarded: Keyed) -> dict[tuple[str, str], float]:
    """How many there were, by kind and operation."""
    with guarded.client(issued(guarded, Role.ADMINISTER)) as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == "facesvc_alarms_total"]
    return {(sample.labels["alarm"], sample.labels["operation"]): sample.value for sample in samples}


def test_an_alarm_is_one_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    log_alarm(json_logger(), Alarm("default", "0123", "request-7", "identify", ("ref_1",)))
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp")
    assert line == {
        "event": "a canary matched",
        "level": "warning",
        "alarm": "canary",
        "operation": "identify",
        "tenant": "default",
        "key": "0123",
        "request_id": "request-7",
        "references": ["ref_1"],
    }


def shape(document: Any) -> Any:
    """The names of a document's fields, all the way down."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    return [shape(value) for value in document] if isinstance(document, list) else type(document).__name__


def test_only_administrators_know_of_canaries(guarded: Keyed, staff: str) -> None:
    with guarded.client(issued(guarded, Role.ENROL)) as client:
        assert client.put("/v1/galleries/staff/subjects/ada/canary").status_code == 403
        assert "canary" not in client.get("/v1/galleries/staff/subjects/nobody").text
    with guarded.client(issued(guarded, Role.ADMINISTER)) as client:
        assert client.delete("/v1/galleries/staff/subjects/ada/canary").status_code == 204
        assert client.put("/v1/galleries/staff/subjects/eve/canary").status_code == 404


def test_keys_cannot_be_guessed_and_who_has_one_is_not_hindered(guarded: Keyed) -> None:
    key = issued(guarded, Role.ENROL)
    with guarded.client(key) as client:
        assert [client.get("/v1/galleries").status_code for _ in range(3 * ATTEMPTS)] == [200] * 3 * ATTEMPTS
    with guarded.client(f"{key.text[:-1]}{'A' if key.text[-1] != 'A' else 'B'}") as guesser:
        statuses = [guesser.get("/v1/galleries").status_code for _ in range(2 * ATTEMPTS)]
        assert 401 in statuses
        assert statuses[-ATTEMPTS:] == [429] * ATTEMPTS
        refused = guesser.get("/v1/galleries")
        assert problem(refused)["code"] == "rate_limited"
        assert refused.headers["content-security-policy"].startswith("default-src 'none'")
    with guarded.client(key) as client:  # who was here before is not shut out by a neighbour
        assert client.get("/v1/galleries").status_code == 200
    assert httpx.get(f"{guarded.url}/healthz").status_code == 200  # whoever watches over it is not stopped


def test_a_forged_address_does_not_help(guarded: Keyed) -> None:
    with guarded.client("facesvc_000000000000_" + "A" * 43) as guesser:
        forged = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(2 * ATTEMPTS)]
        statuses = [guesser.get("/v1/galleries", headers=headers).status_code for headers in forged]
    assert statuses[-1] == 429
