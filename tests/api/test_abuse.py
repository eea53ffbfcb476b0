"""A server with limits that can be reached, and callers who try."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from facesvc.core.access import DEFAULT_TENANT, Role
from facesvc.core.api_keys import IssuedKey, Rights
from facesvc.database import open_database
from tests.api.conftest import problem
from tests.keyed import Keyed, serve_keyed

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
    assert httpx.get(f"{guarded.url}/healthz").status_code == 200  # whoever watches over it is not stopped


def test_a_forged_address_does_not_help(guarded: Keyed) -> None:
    with guarded.client("facesvc_000000000000_" + "A" * 43) as guesser:
        forged = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(2 * ATTEMPTS)]
        statuses = [guesser.get("/v1/galleries", headers=headers).status_code for headers in forged]
    assert statuses[-1] == 429
