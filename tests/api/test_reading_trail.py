"""Who read of whom: the audit log's lines, the budget, and the key in each line of the request log."""

import json
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from threading import Condition
from typing import Any
from uuid import uuid4

import httpx
import pytest

from facesvc.bootstrap.database import open_database
from facesvc.core.access import DEFAULT_TENANT, IssuedKey, Rights, Role
from tests.api.conftest import problem, references
from tests.support.keyed import Keyed, serve_keyed

pytestmark = pytest.mark.xdist_group("reading-trail")  # one worker: what they share is started once

PEOPLE = "/v1/galleries/staff/subjects"


class Log(StringIO):
    """What a server writes, as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.grown = Condition()

    def write(self, text: str, /) -> int:
        with self.grown:
            self.grown.notify_all()
            return super().write(text)


@dataclass(frozen=True)
class Watched:
    """A server whose log can be read."""

    keyed: Keyed
    log: Log

    def issue(self, *roles: Role, requests: int | None = None, identities: int | None = None) -> IssuedKey:
        rights = Rights(frozenset(roles), requests_per_minute=requests, identities_per_day=identities)
        with open_database(self.keyed.settings) as database:
            return database.api_keys.issue(DEFAULT_TENANT, rights)

    def asked(self, key: IssuedKey | str | None, path: str) -> dict[str, Any]:
        """The log's line of this request, which may come after its answer."""
        name = uuid4().hex
        with self.keyed.client(key) as client:
            client.get(path, headers={"X-Request-ID": name})
        with self.log.grown:
            assert self.log.grown.wait_for(lambda: self._lines(name), timeout=30)
            (line,) = self._lines(name)
        return line

    def _lines(self, request: str) -> list[dict[str, Any]]:
        whole = self.log.getvalue().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if f'"request_id": "{request}"' in line]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Iterator[Watched]:
    log, made = Log(), tmp_path_factory.mktemp("watched")
    serving = serve_keyed(made, default_packs)
    with redirect_stderr(log):
        keyed = serving.__enter__()
    try:
        yield Watched(keyed, log)
    finally:
        serving.__exit__(None, None, None)


@pytest.fixture(scope="module")
def admin(watched: Watched) -> Iterator[httpx.Client]:
    with watched.keyed.client(watched.issue(Role.ADMINISTER)) as client:
        yield client


@pytest.fixture(scope="module")
def people(admin: httpx.Client, photographs: dict[str, bytes]) -> str:
    """Three subjects, of whom the first has a photograph; its reference."""
    assert admin.post("/v1/galleries", json={"name": "staff", "keep_photographs": True}).status_code == 201
    files = [("images", ("a.jpg", photographs["obama"]))]
    made = admin.post(references("staff", "ada"), files=files).json()["results"][0]["reference"]
    for name in ("bob", "cyd"):
        assert admin.post(PEOPLE, json={"id": name, "display_name": name.title()}).status_code == 201
    return made


def noted(admin: httpx.Client, key: IssuedKey) -> list[dict[str, Any]]:
    """What is in the audit log of a key."""
    lines, after = [], 0
    while page := admin.get("/v1/audit", params={"after": after, "limit": 500}).json()["items"]:
        lines, after = lines + page, page[-1]["line"]
    return [line for line in lines if line["key"] == key.key.id]


def test_whoever_reads_of_people_is_noted(watched: Watched, admin: httpx.Client, people: str) -> None:
    key = watched.issue(Role.ENROL)
    with watched.keyed.client(key) as client:
        page = client.get(PEOPLE, params={"limit": 2}).json()
        client.get(PEOPLE, params={"limit": 2, "cursor": page["next_cursor"]})
        assert client.get(f"{PEOPLE}/ada").json()["id"] == "ada"
        assert client.get(f"{PEOPLE}/eve").status_code == 404
        assert [r["id"] for r in client.get(f"{PEOPLE}/ada/references").json()["items"]] == [people]
        assert client.get(f"{PEOPLE}/ada/references/{people}").json()["id"] == people
    lines = noted(admin, key)
    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("list_subjects", {"subjects": 2}),
        ("list_subjects", {"subjects": 1}),
        ("read_subject", {}),
        ("read_subject", {"error": "subject_not_found"}),
        ("list_references", {"references": 1}),
        ("read_reference", {"reference": people}),
    ]
    assert len({line["gallery"] for line in lines}) == 1
    of_ada = {line["subject"] for line in lines if line["action"] != "list_subjects" and "error" not in line["outcome"]}
    assert len(of_ada) == 1
    assert not [name for name in ("ada", "staff", "eve") if f'"{name}"' in json.dumps(lines)]


def test_an_enrolment_has_a_line_before_anything_is_stored(
    watched: Watched, admin: httpx.Client, people: str, photographs: dict[str, bytes]
) -> None:
    key = watched.issue(Role.ENROL)
    files = [("images", ("a.jpg", photographs["obama2"]))]
    with watched.keyed.client(key) as client:
        made = client.post(references("staff", "fay"), files=files).json()["results"][0]["reference"]
        assert client.post(references("nowhere", "fay"), files=files).status_code == 404
    assert [(line["action"], line["outcome"]) for line in noted(admin, key)] == [
        ("enrol", {"state": "begun"}),
        ("enrol", {"references": [made], "refused": []}),
        ("enrol", {"error": "gallery_not_found"}),
    ]
    admin.delete(f"{PEOPLE}/fay").raise_for_status()


def test_a_budget_counts_who_is_read_of(watched: Watched, admin: httpx.Client, people: str) -> None:
    key = watched.issue(Role.ENROL, identities=2)
    with watched.keyed.client(key) as client:
        assert len(client.get(PEOPLE, params={"limit": 2}).json()["items"]) == 2
        whole = client.get(PEOPLE, params={"limit": 3})
        assert (whole.status_code, problem(whole)["code"]) == (429, "identity_budget_spent")
        assert 1 <= int(whole.headers["retry-after"]) <= 86_400
        known = {item["id"] for item in client.get(PEOPLE, params={"limit": 2}).json()["items"]}
        answers = {name: client.get(f"{PEOPLE}/{name}") for name in ("ada", "bob", "cyd")}
        (other,) = answers.keys() - known
        assert {name: answer.status_code for name, answer in answers.items()} == {
            name: 200 if name in known else 429 for name in answers
        }
        assert client.patch(f"{PEOPLE}/{other}", json={"display_name": "Eve"}).status_code == 429
    assert admin.get(f"{PEOPLE}/{other}").json()["display_name"] != "Eve"
    assert noted(admin, key)[1]["outcome"] == {"error": "identity_budget_spent"}


@pytest.mark.parametrize("path", ["", "/{}", "/{}/photograph"])
def test_a_face_is_counted_as_a_name_is(watched: Watched, people: str, path: str) -> None:
    with watched.keyed.client(watched.issue(Role.ENROL, identities=1)) as client:
        assert client.get(f"{PEOPLE}/bob").status_code == 200
        assert client.get(f"{PEOPLE}/bob/references").status_code == 200  # of nobody else is told
        assert client.get(f"{PEOPLE}/ada/references{path.format(people)}").status_code == 429
    with watched.keyed.client(watched.issue(Role.ENROL, identities=1)) as client:
        assert client.get(f"{PEOPLE}/ada/references{path.format(people)}").status_code == 200


def test_the_request_log_says_whose_key_it_was(watched: Watched) -> None:
    key, spent = watched.issue(Role.VERIFY), watched.issue(Role.VERIFY, requests=1)
    asks = ((key, "/v1/caller"), (key, "/v1/galleries"), (spent, "/v1/caller"), (spent, "/v1/caller"))
    lines = [watched.asked(issued, path) for issued, path in asks]
    assert [(line["status"], line["key"], line["tenant"]) for line in lines] == [
        (200, key.key.id, "default"),
        (403, key.key.id, "default"),
        (200, spent.key.id, "default"),
        (429, spent.key.id, "default"),
    ]
    assert key.text.rpartition("_")[2] not in watched.log.getvalue()


def test_a_key_that_is_refused_is_nobodys(watched: Watched) -> None:
    """What it says of itself stands by itself: anybody can say it."""
    key = watched.issue(Role.VERIFY)
    forged = f"facesvc_{key.key.id}_{'A' * 43}"
    lines = [watched.asked(text, "/v1/caller") for text in (forged, "facesvc_nonsense", None)]
    assert [(line["status"], line["key"], line["tenant"], line.get("claimed_key")) for line in lines] == [
        (401, None, None, key.key.id),
        (401, None, None, None),
        (401, None, None, None),
    ]
    assert "nonsense" not in watched.log.getvalue()
