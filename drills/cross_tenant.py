"""What one tenant learns of another: an administrator asks for ids that are another tenant's, and for ids that are
nobody's, and everything that comes back has to be the same: status, headers, body, and time.

By hand for each operation and each of its parameters, then with requests that schemathesis makes from the OpenAPI
document.
"""

import re
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable

from drills.ground import Real, prepared, serving
from drills.timing import Compared, compare
from drills.two_tenants import PARAMETERS, Ask, Tenant, asks, request, settled, unknown
from facesvc.bootstrap.database import open_database
from facesvc.config import Settings
from facesvc.core.access import Rights, Role
from tests.support.snapshot import SNAPSHOT

EXAMPLES, ROUNDS, SEED = 30, 300, 20_261
"""Requests that schemathesis makes for each operation and parameter; pairs of requests whose times are compared."""
ALL: list[HealthCheck] = [*HealthCheck]  # type: ignore[misc]
NO_LIMIT = 1_000_000
VARYING = {"date", "x-request-id"}
MADE = re.compile(r"ref_[0-9a-z]+|\d{4}-\d\d-\d\dT[\d:.]+Z|facesvc_[0-9A-Za-z_-]+")
"""What an answer has of its own: ids, moments."""
MOST_APART = 0.1
"""How far from chance the times of the two may be told apart."""
Told = tuple[int, dict[str, str], str]


def drill(folder: Path, real: Real, examples: int, rounds: int, most_apart: float = MOST_APART) -> str:
    """Raises AssertionError for anything that one tenant learns of another."""
    limits = {"requests_per_minute": NO_LIMIT, "requests_per_minute_per_address": NO_LIMIT}
    with serving(folder, real, dev=False, **limits) as served:
        attacker, victim = (tenant(folder, served.url, name, real) for name in ("attacker", "victim"))
        with closing(attacker.client), closing(victim.client):
            found = {str(ask): by_hand(ask, attacker, victim, real) for ask in asks()}
            made = {str(ask): by_schemathesis(ask, attacker, victim, examples) for ask in asks() if ask.form is None}
            require_unharmed(victim, real)
            times = [in_time(ask, attacker, victim, real, rounds) for ask in asks() if ask.method == "GET"]
            require_apart(attacker, victim, real)
    leaks = [f"{ask}: {why}" for ask, whys in found.items() for why in whys]
    leaks += [f"{ask}, made: {why}" for ask, (whys, _) in made.items() for why in whys]
    assert not leaks, f"{len(leaks)} leaks: {'; '.join(leaks[:5])}"
    worst = max(times, key=lambda found: found.apart)
    assert worst.apart < most_apart, f"told apart by time: {worst}"
    return line(len(found), sum(count for _, count in made.values()), times)


def line(by_hand: int, made: int, times: list[Compared]) -> str:
    apart, ratio = max(found.apart for found in times), max((found.ratio for found in times), key=lambda r: abs(r - 1))
    return (
        f"{by_hand} parameters of operations by hand, {made} requests by schemathesis (seed {SEED}): 0 leaks; "
        f"time of another's to nobody's: ratio furthest from 1 is {ratio:.3f}, told apart "
        f"{0.5 + apart:.2f} (chance 0.50)"
    )


def tenant(folder: Path, url: str, name: str, real: Real) -> Tenant:
    with open_database(Settings(data=folder)) as database:
        made = database.register.create(name)
        issued = database.api_keys.issue(made.id, Rights(frozenset({Role.ADMINISTER})))
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {issued.text}"}, timeout=60)
    return settled(client, issued.key.id, real)


def by_hand(ask: Ask, attacker: Tenant, victim: Tenant, real: Real) -> list[str]:
    told = []
    for value in (victim.ids[ask.parameter], unknown(victim.ids[ask.parameter])):
        answer = attacker.client.request(**request(ask, ask.names(attacker, victim, value), real))
        told.append(normal(answer.status_code, answer.headers, answer.text, value))
        if (
            ask.operation == "enrol" and answer.is_success
        ):  # made the subject, as the attacker's own: others ask after it
            gallery = attacker.ids["gallery"]
            assert attacker.client.delete(f"/v1/galleries/{gallery}/subjects/{value}").status_code == 204
    return differing(*told)


def by_schemathesis(ask: Ask, attacker: Tenant, victim: Tenant, examples: int) -> tuple[list[str], int]:
    """What differed, and how many requests were compared."""
    schema = schemathesis.openapi.from_path(str(SNAPSHOT))
    cases: list[Any] = []

    @seeded(SEED)
    @settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=ALL)
    @given(schema[ask.path][ask.method].as_strategy())
    def collect(case: Any) -> None:
        cases.append(case)

    with suppress(Unsatisfiable):
        collect()
    return [why for case in cases for why in generated(case, ask, attacker, victim)], len(cases)


def generated(case: Any, ask: Ask, attacker: Tenant, victim: Tenant) -> list[str]:
    told = []
    headers = {"Authorization": attacker.client.headers["authorization"]}
    for value in (victim.ids[ask.parameter], unknown(victim.ids[ask.parameter])):
        names = ask.names(attacker, victim, value)
        case.path_parameters = {name: names[name] for name in case.path_parameters if name in PARAMETERS}
        if "Idempotency-Key" in case.headers:
            headers["Idempotency-Key"] = token_hex(8)  # these are two requests, not one that is sent again
        answer = case.call(base_url=str(attacker.client.base_url), headers=headers)
        received = {name: values[0] for name, values in answer.headers.items()}
        told.append(normal(answer.status_code, received, answer.content.decode(), value))
    return differing(*told)


def normal(status: int, headers: Mapping[str, str], body: str, value: str) -> Told:
    """An answer without what every answer has of its own, and without the id that was asked for."""

    def bare(text: str) -> str:
        return MADE.sub("MADE", text.replace(value, "ASKED"))

    return status, {name: bare(text) for name, text in headers.items() if name.lower() not in VARYING}, bare(body)


def differing(theirs: Told, nobodys: Told) -> list[str]:
    """Also an answer of 500, which would hide what it differs in."""
    parts = zip(("status", "headers", "body"), theirs, nobodys, strict=True)
    found = [f"{part} {a!r:.300} is not {b!r:.300}" for part, a, b in parts if a != b]
    return found + [f"status {theirs[0]}"] * (theirs[0] >= 500)


def require_unharmed(victim: Tenant, real: Real) -> None:
    """What was asked for is still there, as it was."""
    assert victim.client.get(victim.photograph).content == real.photographs["obama"]
    kept = victim.client.get("/v1/galleries").json()["items"]
    assert [(gallery["name"], gallery["subjects"]) for gallery in kept] == [(victim.ids["gallery"], 1)]


def in_time(ask: Ask, attacker: Tenant, victim: Tenant, real: Real, rounds: int) -> Compared:
    values = victim.ids[ask.parameter], unknown(victim.ids[ask.parameter])
    requests = [request(ask, ask.names(attacker, victim, value), real) for value in values]
    theirs, nobodys = (partial(attacker.client.request, **one) for one in requests)
    return compare(str(ask), theirs, nobodys, rounds, SEED)


def require_apart(attacker: Tenant, victim: Tenant, real: Real) -> None:
    """A tenant may call its own things what another calls its own, its retried requests too, and gets its own."""
    assert attacker.client.post("/v1/galleries", json={"name": victim.ids["gallery"]}).status_code == 201
    path = "/v1/galleries/{gallery}/subjects/{subject}/references".format_map(victim.ids)
    sent = {"files": {"images": real.photographs["biden"]}, "headers": {"Idempotency-Key": "of-both"}}
    answers = [tenant.client.post(path, **sent) for tenant in (victim, attacker)]
    first, second = (answer.json()["results"][0]["reference"] for answer in answers)
    assert first != second
    for listing in ("/v1/galleries", "/v1/api-keys", path):
        told = attacker.client.get(listing).text
        assert [name for name in (victim.ids["reference"], victim.ids["key"], first) if name in told] == [], listing


def run(folder: Path) -> str:
    return drill(folder / "data", prepared(), EXAMPLES, ROUNDS)
