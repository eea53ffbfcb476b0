"""Who gets in, and for what: roles, galleries, revocation, and what a stranger is told."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from facesvc.bootstrap.database import open_database
from facesvc.config import Settings
from facesvc.core.access import Role
from facesvc.service.disclosure import Alarms
from facesvc.web.access import permission_of
from facesvc.web.app import create_app
from tests.api.conftest import problem
from tests.support.keyed import Keyed, serve_keyed
from tests.support.live import listen
from tests.support.snapshot import document

pytestmark = pytest.mark.xdist_group("access")  # one worker: what they share is started once

STATIC = {"/openapi.json", "/page"}
"""Answered without a key, and without an operation of ours."""
PUBLIC = {"/", "/healthz", "/readyz", "/errors/{code}"}
TOKEN = "metrics-token-of-this-test"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Iterator[Keyed]:
    with serve_keyed(tmp_path_factory.mktemp("keyed"), default_packs, metrics_token=TOKEN) as running:
        yield running


@pytest.fixture
def admin(keyed: Keyed) -> Iterator[httpx.Client]:
    with keyed.client(keyed.issue(Role.ADMINISTER)) as client:
        yield client


@pytest.fixture
def galleries(admin: httpx.Client) -> list[str]:
    """Names of three new galleries."""
    names = [f"{letter}-{uuid4().hex[:8]}" for letter in "abc"]
    for name in names:
        assert admin.post("/v1/galleries", json={"name": name}).status_code == 201
    return names


def app() -> FastAPI:
    return create_app(Settings(), lambda: pytest.fail("never opened"))


def test_every_route_says_who_may() -> None:
    routes = [(route.path, route.endpoint) for route in iter_route_contexts(app().routes)]
    silent = {path for path, endpoint in routes if endpoint is None or permission_of(endpoint) is None}
    assert silent == STATIC
    permissions = [(path, permission_of(endpoint)) for path, endpoint in routes if endpoint is not None]
    assert {path for path, permission in permissions if permission and permission.public} == PUBLIC
    assert len(permissions) > 35


def test_a_route_that_says_nothing_is_closed(keyed: Keyed) -> None:
    def forgotten() -> str:
        raise AssertionError("reached")

    made = create_app(keyed.settings.model_copy(update={"dev": True}), broken_tenants)
    made.add_api_route("/forgotten", forgotten)
    with listen(made) as url:
        assert problem(httpx.get(f"{url}/forgotten"))["code"] == "forbidden"


class broken_tenants(ExitStack):  # noqa: N801
    """Opens nothing; enough for an application to start."""

    alarms = Alarms()

    class extractors:  # noqa: N801
        class default:  # noqa: N801
            template_version = "sha256:0"


def operations() -> list[tuple[str, str, set[str]]]:
    """Method, path with names filled in, and roles, of every operation that needs a key."""
    found = []
    names = {"gallery": "g", "subject": "s", "reference": "r", "key": "0" * 12, "code": "no_face"}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            roles = {role for way in operation["security"] for role in way["apiKey"]}
            if roles:
                found.append((method.upper(), path.format_map(Names(names)), roles))
    return found


class Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "x"


def test_nobody_gets_in_without_a_key(keyed: Keyed) -> None:
    with keyed.client(None) as stranger, keyed.client("facesvc_000000000000_" + "A" * 43) as guesser:
        for method, path, _ in operations():
            for client, challenge in ((stranger, 'Bearer realm="facesvc"'), (guesser, INVALID)):
                answer = client.request(method, path)
                assert (problem(answer)["code"], answer.status_code) == ("unauthenticated", 401), (method, path)
                assert answer.headers["www-authenticate"] == challenge


INVALID = 'Bearer realm="facesvc", error="invalid_token"'


@pytest.mark.parametrize("role", [Role.VERIFY, Role.IDENTIFY, Role.ENROL])
def test_a_role_allows_its_own_operations_alone(keyed: Keyed, role: Role) -> None:
    with keyed.client(keyed.issue(role)) as client:
        answers = {
            (method, path): (client.request(method, path), role.value in roles) for method, path, roles in operations()
        }
    refused = {at for at, (answer, _) in answers.items() if answer.status_code == 403}
    assert refused == {at for at, (_, allowed) in answers.items() if not allowed}
    assert {problem(answers[at][0])["code"] for at in refused} == {"forbidden"}
    assert all("insufficient_scope" in answers[at][0].headers["www-authenticate"] for at in refused)
    assert len(refused) > 10


def test_administrators_may_everything(admin: httpx.Client) -> None:
    statuses = {admin.request(method, path).status_code for method, path, _ in operations()}
    assert statuses.isdisjoint({401, 403, 500})


def test_who_asks(keyed: Keyed) -> None:
    issued = keyed.issue(Role.IDENTIFY, Role.ENROL, galleries=frozenset({"staff"}))
    with keyed.client(issued) as client:
        assert client.get("/v1/caller").json() == {
            "key": issued.key.id,
            "tenant": "default",
            "roles": ["enrol", "identify"],
            "galleries": ["staff"],
            "development": False,
        }


def test_the_scheme_is_bearer_whatever_its_case(keyed: Keyed) -> None:
    text = keyed.issue(Role.VERIFY).text
    with keyed.client(None) as client:
        answers = [client.get("/v1/caller", headers={"Authorization": f"{way} {text}"}) for way in ("bearer", "BEARER")]
        answers += [client.get("/v1/caller", headers={"Authorization": value}) for value in (text, f"Basic {text}")]
        answers += [client.get("/v1/caller", params={"key": text, "access_token": text})]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 401, 401]


def test_a_body_of_a_stranger_is_not_read(keyed: Keyed) -> None:
    with keyed.client(None) as client:
        answer = client.post("/v1/verify", content=b"{", headers={"Content-Type": "application/json"})
    assert problem(answer)["code"] == "unauthenticated"


def test_an_unseen_gallery_answers_like_an_unknown_one(
    keyed: Keyed, admin: httpx.Client, galleries: list[str], photographs: dict[str, bytes]
) -> None:
    seen, unseen, _ = galleries
    unknown = f"u-{uuid4().hex[:8]}"
    assert len(unknown) == len(unseen)
    image = {"image": ("a.jpg", photographs["obama"])}
    asks = [
        ("GET", "/v1/galleries/{}", {}),
        ("GET", "/v1/galleries/{}/subjects", {}),
        ("GET", "/v1/galleries/{}/subjects?limit=0", {}),
        ("GET", "/v1/galleries/{}/subjects/ada", {}),
        ("DELETE", "/v1/galleries/{}/subjects/ada", {}),
        ("POST", "/v1/galleries/{}/subjects", {"json": {"id": "ada"}}),
        ("PATCH", "/v1/galleries/{}/subjects/ada", {"json": {"display_name": "Ada"}}),
        ("POST", "/v1/galleries/{}/subjects/ada/references", {"files": {"images": image["image"]}}),
        ("GET", "/v1/galleries/{}/subjects/ada/references/ref_1/photograph", {}),
    ]
    rights = keyed.issue(Role.IDENTIFY, Role.ENROL, Role.VERIFY, galleries=frozenset({seen}))
    with keyed.client(rights) as client:
        for method, path, sent in asks:
            told = [client.request(method, path.format(name), **sent) for name in (unseen, unknown)]
            named = zip(told, (unseen, unknown), strict=True)
            bodies = [answer.content.replace(name.encode(), b"NAME") for answer, name in named]
            assert (told[0].status_code, bodies[0]) == (told[1].status_code, bodies[1]), (method, path)
            assert told[0].status_code in (404, 422)
        for name in (unseen, unknown):
            answer = client.post("/v1/identify", files=image, data={"gallery": name})
            assert problem(answer)["code"] == "gallery_not_found"
        assert client.get(f"/v1/galleries/{seen}").status_code == 200
    assert admin.get(f"/v1/galleries/{unseen}").json()["subjects"] == 0


def test_a_list_shows_what_the_key_may_use_page_by_page(keyed: Keyed, galleries: list[str]) -> None:
    first, hidden, last = galleries
    with keyed.client(keyed.issue(Role.ENROL, galleries=frozenset({first, last, "not-there"}))) as client:
        page = client.get("/v1/galleries", params={"limit": 1}).json()
        rest = client.get("/v1/galleries", params={"limit": 1, "cursor": page["next_cursor"]}).json()
        whole = client.get("/v1/galleries").json()
    assert sorted(item["name"] for item in (*page["items"], *rest["items"])) == [first, last]
    assert rest["next_cursor"] is None
    assert sorted(item["name"] for item in whole["items"]) == [first, last]
    assert hidden not in str(whole)


def test_keys_over_http(keyed: Keyed, admin: httpx.Client) -> None:
    asked = {"roles": ["verify"], "galleries": ["staff"], "label": "gate 3", "expires_in_days": 1}
    answer = admin.post("/v1/api-keys", json=asked)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/api-keys/{made['id']}"
    assert (made["roles"], made["galleries"], made["label"], made["valid"]) == (["verify"], ["staff"], "gate 3", True)
    told = admin.get(answer.headers["location"]).json()
    assert told == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in admin.get("/v1/api-keys").text
    with keyed.client(made["key"]) as client:
        assert client.get("/v1/caller").status_code == 200
        assert admin.delete(f"/v1/api-keys/{made['id']}").status_code == 204
        assert problem(client.get("/v1/caller"))["code"] == "unauthenticated"
    assert admin.get(f"/v1/api-keys/{made['id']}").json()["valid"] is False
    lines, found = [], [{"line": 0}]
    while found := admin.get("/v1/audit", params={"after": found[-1]["line"], "limit": 500}).json()["items"]:
        lines += found
    noted = [(line["action"], line["outcome"]) for line in lines if line["outcome"].get("api_key") == made["id"]]
    assert noted == [
        ("create_api_key", {"api_key": made["id"], "roles": ["verify"]}),
        ("revoke_api_key", {"api_key": made["id"]}),
    ]


def test_rotation_over_http(keyed: Keyed, admin: httpx.Client) -> None:
    old = keyed.issue(Role.VERIFY)
    new = admin.post(f"/v1/api-keys/{old.key.id}/rotate", json={"overlap_hours": 1}).json()
    with keyed.client(old) as before, keyed.client(new["key"]) as after:
        assert (before.get("/v1/caller").status_code, after.get("/v1/caller").status_code) == (200, 200)
    outgoing = admin.get(f"/v1/api-keys/{old.key.id}").json()
    assert outgoing["replaced_by"] == new["id"]
    assert outgoing["expires_at"] is not None


def test_keys_that_can_not_be(admin: httpx.Client) -> None:
    asks = [
        {"roles": []},
        {"roles": ["root"]},
        {"roles": ["administer"], "galleries": ["staff"]},
        {"roles": ["verify"], "galleries": []},
        {"roles": ["verify"], "expires_in_days": 0},
        {"roles": ["verify"], "label": "a\u0000b"},
    ]
    answers = [admin.post("/v1/api-keys", json=asked) for asked in asks]
    assert {problem(answer)["code"] for answer in answers} == {"invalid_request"}
    unknown = admin.delete("/v1/api-keys/000000000000")
    assert (problem(unknown)["code"], unknown.status_code) == ("api_key_not_found", 404)


def test_metrics_are_for_whoever_runs_the_service(keyed: Keyed, admin: httpx.Client) -> None:
    foreign = keyed.issue(Role.ADMINISTER, tenant=keyed.tenant(f"acme-{uuid4().hex}"))
    with keyed.client(foreign) as other, keyed.client(TOKEN) as scraper, keyed.client(None) as stranger:
        statuses = [client.get("/metrics").status_code for client in (admin, scraper, other, stranger)]
        assert statuses == [200, 200, 403, 401]
        assert scraper.get("/v1/caller").status_code == 401


def test_tenants_do_not_see_each_other(keyed: Keyed, admin: httpx.Client, galleries: list[str]) -> None:
    tenant = keyed.tenant(f"acme-{uuid4().hex}")
    with keyed.client(keyed.issue(Role.ADMINISTER, tenant=tenant)) as other:
        assert other.get("/v1/galleries").json()["items"] == []
        assert problem(other.get(f"/v1/galleries/{galleries[0]}"))["code"] == "gallery_not_found"
        made = other.post("/v1/galleries", json={"name": galleries[0], "metadata": {"whose": "acme"}})
        assert made.status_code == 201
        assert [key["id"] for key in other.get("/v1/api-keys").json()["items"]] != []
        assert other.get("/v1/caller").json()["tenant"] == tenant
    assert admin.get(f"/v1/galleries/{galleries[0]}").json()["metadata"] == {}


def test_an_expired_key_is_refused(keyed: Keyed) -> None:
    issued = keyed.issue(Role.VERIFY)
    with open_database(keyed.settings) as database:
        database.api_keys.rotate("default", issued.key.id, timedelta(0))
    with keyed.client(issued) as client:
        assert problem(client.get("/v1/caller"))["code"] == "unauthenticated"
