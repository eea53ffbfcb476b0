"""Health, metrics, the model, headers, the OpenAPI document, and bodies that never arrive."""

import asyncio
import json
from collections.abc import Callable
from time import monotonic
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from facesvc.errors import Overloaded
from facesvc.models import calibration, manifest
from facesvc.models.packs import MANIFESTS
from facesvc.web.errors import RequestTimeout
from facesvc.web.limits import BODIES_HELD, BodyLimits
from facesvc.web.observe import Metrics, Observed, json_logger
from tests.api.conftest import Part, references
from tests.support.snapshot import SNAPSHOT, document

Parts = Callable[[str, str], Part]
REFERENCES, BYTES = "facesvc_index_references", "facesvc_index_bytes"


def metrics(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *(value for _, value in sorted(s.labels.items()))): s.value for s in samples}


def test_health(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "development": True}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_the_model_in_use(client: httpx.Client) -> None:
    model = client.get("/v1/model").json()
    assert (model["dimension"], model["threshold"], model["largest_distance"]) == (128, 1.1, 4.0)
    committed = manifest.read(MANIFESTS / "fusion.json")
    assert (model["name"], model["title"]) == ("fusion", committed.title)
    assert model["template_version"] == committed.template_version
    assert model["calibration"]["id"] == calibration.load(calibration.COMMITTED / "fusion.json").id


def test_metrics_count_what_happened(client: httpx.Client, part: Parts, gallery: str) -> None:
    before = metrics(client)
    client.post("/v1/verify", files=[part("probe", "obama"), part("reference", "biden")])
    client.post(references(gallery, "o"), files=[part("images", "obama"), part("images", "no_face")])
    after = metrics(client)
    grown = {
        ("facesvc_decisions_total", "no_match", "verify"): 1,
        ("facesvc_enrolments_total", "enrolled"): 1,
        ("facesvc_enrolments_total", "no_face"): 1,
        ("facesvc_request_seconds_count", "POST", "/v1/verify", "200"): 1,
        ("facesvc_stage_seconds_count", "embed"): 1,
        ("facesvc_request_seconds_count", "POST", "/v1/galleries/{gallery}/subjects/{subject}/references", "201"): 1,
    }
    assert {name: after.get(name, 0) - before.get(name, 0) for name in grown} == grown
    assert not any(gallery in label for name in after for label in name)  # what callers name stays out of labels


def indexed(change: dict[str, Any]) -> int:
    """Templates of a gallery that are in memory: those that answer, and those it may go back to."""
    other = change["other"]
    return change["templates"] + (other["templates"] if other and other["state"] == "standby" else 0)


def settled(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """The metrics once the server has followed what other tests wrote."""
    deadline = monotonic() + 60
    while monotonic() < deadline:
        names = [gallery["name"] for gallery in client.get("/v1/galleries?limit=500").json()["items"]]
        kept = sum(map(indexed, (client.get(f"/v1/galleries/{name}/model-change").json() for name in names)))
        found = metrics(client)
        if found.get((REFERENCES, "flat"), 0) == kept:
            return found
    raise AssertionError("the server does not follow its database")


def test_metrics_tell_the_memory_of_indexes(client: httpx.Client, part: Parts, gallery: str) -> None:
    before = settled(client)
    client.post(references(gallery, "o"), files=[part("images", "obama")])
    client.post("/v1/identify", files=[part("image", "biden")], data={"gallery": gallery})
    after = metrics(client)
    grown = {name: after[name, "flat"] - before.get((name, "flat"), 0) for name in (REFERENCES, BYTES)}
    assert grown[REFERENCES] == 1
    assert grown[BYTES] >= 4 * 128 + 8


def test_answers_are_private_and_protected(client: httpx.Client) -> None:
    headers = client.get("/v1/galleries").headers
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"
    page = client.get("/").headers["content-security-policy"]
    assert "script-src 'self';" in page
    assert "unsafe" not in page


def test_the_openapi_document_is_the_committed_one(client: httpx.Client) -> None:
    assert document() == json.loads(SNAPSHOT.read_text()), "refresh it with: python -m tests.support.snapshot"
    assert client.get("/openapi.json").json() == document()


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads its body to the end."""
    while (await receive()).get("more_body"):
        pass


def scope(**headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": "/", "headers": raw}


async def nowhere(message: Message) -> None:
    raise AssertionError(f"nothing should be answered here: {message}")


def test_a_body_that_never_arrives_is_given_up() -> None:
    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    limits = BodyLimits(deaf, max_bytes=1000, arrival_seconds=0.01)
    with pytest.raises(RequestTimeout, match=r"did not arrive within 0\.01 s"):
        asyncio.run(limits(scope(), silence, nowhere))
    assert limits.held == 0


def test_a_client_that_hangs_up_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    async def hang_up() -> Message:
        return {"type": "http.disconnect"}

    async def reader(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    asyncio.run(Observed(reader, json_logger(), recorded := Metrics())(scope(), hang_up, nowhere))
    (line,) = (json.loads(text) for text in capsys.readouterr().err.splitlines())
    assert (line["event"], line["level"], line["status"]) == ("request", "info", 499)
    assert recorded.registry.get_sample_value(
        "facesvc_request_seconds_count", {"method": "*", "route": "other", "status": "499"}
    ) == pytest.approx(1)


def test_requests_that_are_worked_on_are_bounded() -> None:
    """Those whose bodies are still arriving are not worked on; those that are done make place."""
    told: list[Any] = []

    async def answer(message: Message) -> None:
        told.append(message.get("status"))

    async def both() -> None:
        arriving, done = asyncio.Event(), asyncio.Event()

        async def slow() -> Message:
            await arriving.wait()
            return {"type": "http.request", "body": b"x"}

        async def busy(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await done.wait()

        limits = BodyLimits(busy, max_bytes=1000, most=1)
        first = asyncio.create_task(limits(scope(), slow, nowhere))
        second = asyncio.create_task(limits(scope(), slow, nowhere))
        await asyncio.sleep(0)
        assert limits.working == 0
        arriving.set()
        while limits.working < 1:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await second
        await limits(scope(), slow, answer)
        done.set()
        await first
        assert limits.working == 0

    asyncio.run(both())
    assert told[0] == 503


def test_bodies_of_all_requests_together_are_bounded() -> None:
    async def endless() -> Message:
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    async def both() -> None:
        limits.held = 1000 * BODIES_HELD - 50  # other requests hold these
        await limits(scope(), endless, nowhere)

    limits = BodyLimits(deaf, max_bytes=1000)
    with pytest.raises(Overloaded):
        asyncio.run(both())
    assert limits.held == 1000 * BODIES_HELD - 50  # what was read is given back
