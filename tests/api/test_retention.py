"""Consent, expiry, erasure with its receipt, subject access and the audit log, over HTTP."""

import base64
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.api.conftest import Part, problem, references
from tests.support.live import Live

Enrol = Callable[..., dict[str, Any]]


def subject(gallery: str, name: str = "ada") -> str:
    return f"/v1/galleries/{gallery}/subjects/{name}"


def moment(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")


def lines(client: httpx.Client, after: int) -> list[dict[str, Any]]:
    return client.get("/v1/audit", params={"after": after, "limit": 500}).json()["items"]


def last(client: httpx.Client) -> int:
    """The number of the audit log's last line."""
    after = 0
    while found := lines(client, after):
        after = found[-1]["line"]
    return after


def test_who_has_expired_answers_nothing_and_is_erased(
    client: httpx.Client, live: Live, gallery: str, enrol: Enrol, part: Callable[[str, str], Part]
) -> None:
    enrol(gallery, "ada", "obama", "obama2")
    changed = client.patch(subject(gallery), json={"consent": "form 117", "expires_at": "2027-11-21T08:00:00+02:00"})
    assert (changed.json()["consent"], changed.json()["expires_at"]) == ("form 117", "2027-11-21T06:00:00.000Z")
    asked = {"files": [part("image", "obama")], "data": {"gallery": gallery}}
    assert client.post("/v1/identify", **asked).json()["faces"][0]["candidates"][0]["subject"] == "ada"

    after = last(client)
    client.patch(subject(gallery), json={"expires_at": moment(-1)})
    assert client.post("/v1/identify", **asked).json()["faces"][0]["candidates"] == []
    for answer in (
        client.get(subject(gallery)),
        client.post("/v1/verify", files=[part("probe", "obama")], data={"subject": "ada", "gallery": gallery}),
    ):
        assert problem(answer)["code"] == "subject_not_found"
    deadline = datetime.now(UTC) + timedelta(seconds=20 * live.settings.follow_seconds)
    while client.get(f"/v1/galleries/{gallery}").json()["subjects"]:
        assert datetime.now(UTC) < deadline, "nobody erased who had expired"
    erasures = [line for line in lines(client, after) if line["action"] == "erase" and line["key"] == "retention"]
    assert [line["outcome"] for line in erasures][:1] == [{"state": "begun"}]


def test_a_moment_without_a_time_zone_is_refused(client: httpx.Client, gallery: str) -> None:
    subjects = f"/v1/galleries/{gallery}/subjects"
    answer = client.post(subjects, json={"id": "ada", "expires_at": "2027-11-21T08:00:00"})
    assert problem(answer)["errors"][0]["detail"] == "Input should have timezone info"
    beyond = client.post(
        f"/v1/galleries/{gallery}/subjects", json={"id": "a", "expires_at": "0001-01-01T00:00:00+14:00"}
    )
    assert problem(beyond)["errors"] == [{"field": "expires_at", "detail": "there is no such moment in UTC"}]


def test_an_erasure_is_proved(client: httpx.Client, gallery: str, enrol: Enrol) -> None:
    client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": True})
    ids = [result["reference"] for result in enrol(gallery, "ada", "obama", "obama2")["results"]]
    receipt = client.post(f"{subject(gallery)}/erasure").json()
    statement = receipt["statement"]
    assert (statement["subject"], statement["gallery"], statement["references"]) == ("ada", gallery, ids)
    assert (statement["photographs"], statement["key"], statement["tenant"]) == (2, "development", "default")
    assert statement["remaining"] == {"database": 0, "snapshots": 0}
    assert problem(client.get(subject(gallery)))["code"] == "subject_not_found"

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(receipt["signature"]["public_key"]))
    signed = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signature = base64.b64decode(receipt["signature"]["value"])
    key.verify(signature, signed)
    with pytest.raises(InvalidSignature):
        key.verify(signature, signed.replace(b'"photographs":2', b'"photographs":3'))

    end = lines(client, statement["audit"]["sequence"] - 1)[0]
    assert (end["digest"], end["action"]) == (statement["audit"]["digest"], "erase")
    assert end["outcome"] == {"photographs": 2, "references": 2}
    again = client.post(f"{subject(gallery)}/erasure")  # as if the first answer had been lost
    assert (again.status_code, again.json()) == (200, receipt)
    outcomes = [line["outcome"] for line in lines(client, statement["audit"]["sequence"]) if line["action"] == "erase"]
    assert outcomes == [{"state": "begun"}, {"repeated": True}]
    assert problem(client.post(f"{subject(gallery, 'eve')}/erasure"))["code"] == "subject_not_found"


def test_all_that_is_kept_of_a_subject(
    client: httpx.Client, gallery: str, enrol: Enrol, photographs: dict[str, bytes]
) -> None:
    client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": True})
    client.post(f"/v1/galleries/{gallery}/subjects", json={"id": "ada", "display_name": "Ada", "consent": "form 1"})
    (reference,) = (result["reference"] for result in enrol(gallery, "ada", "obama")["results"])
    answer = client.get(f"{subject(gallery)}/export")
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert sorted(archive.namelist()) == [
        "README.txt", "audit.jsonl", f"photographs/{reference}.jpg", "subject.json",
    ]  # fmt: skip
    assert archive.read(f"photographs/{reference}.jpg") == photographs["obama"]
    told = json.loads(archive.read("subject.json"))
    assert (told["id"], told["display_name"], told["consent"], len(told["references"])) == ("ada", "Ada", "form 1", 1)
    vector = np.frombuffer(base64.b64decode(told["references"][0]["template"]), "<f4")
    assert vector.shape == (128,)
    assert float(vector @ vector) == pytest.approx(1.0, abs=1e-5)
    actions = [json.loads(line)["action"] for line in archive.read("audit.jsonl").splitlines()]
    assert actions[:4] == ["create_subject", "create_subject", "enrol", "enrol"]
    assert actions[-1] == "export_subject"


def test_an_archive_leaves_in_pieces_and_nothing_of_it_is_on_a_disk(
    client: httpx.Client, gallery: str, enrol: Enrol, photographs: dict[str, bytes], tmp_path: Path, monkeypatch: Any
) -> None:
    """More than 8 MiB of photographs: none is written to a temporary file, and the line is there before the first
    piece of the answer."""
    client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": True})
    large = {name: photographs[name] + bytes(3 * 2**20) for name in ("obama", "obama2", "obama3")}
    files = [("images", (f"{name}.jpg", content)) for name, content in large.items()]
    assert client.post(references(gallery, "ada"), files=files).json()["enrolled"] == 3
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # where any temporary file would fail
    after = last(client)
    with client.stream("GET", f"{subject(gallery)}/export") as answer:
        assert (answer.status_code, "content-length" in answer.headers) == (200, False)
        pieces = answer.iter_bytes()
        first = next(pieces)
        assert [(line["action"], line["outcome"]) for line in lines(client, after)] == [
            ("export_subject", {"references": 3})
        ]
        archive = zipfile.ZipFile(io.BytesIO(first + b"".join(pieces)))
    assert archive.testzip() is None
    kept = {archive.read(name) for name in archive.namelist() if name.startswith("photographs/")}
    assert kept == set(large.values())
    assert len(json.loads(archive.read("subject.json"))["references"]) == 3


def test_every_question_has_a_line(
    client: httpx.Client, gallery: str, enrol: Enrol, part: Callable[[str, str], Part]
) -> None:
    enrol(gallery, "ada", "obama")
    after = last(client)
    files = [part("probe", "obama2")]
    client.post(
        "/v1/verify", files=files, data={"subject": "ada", "gallery": gallery}, headers={"X-Request-ID": "r-77"}
    )
    client.post("/v1/identify", files=[part("image", "biden")], data={"gallery": gallery})
    client.post("/v1/verify", files=files, data={"subject": "nobody", "gallery": gallery})
    client.delete(references(gallery, "ada") + "/ref_unknown")
    verified, identified, unknown, begun, failed = lines(client, after)
    assert (verified["action"], verified["key"], verified["request"]) == ("verify", "development", "r-77")
    assert (verified["outcome"]["decision"], verified["outcome"]["threshold"]) == ("match", 1.1)
    (face,) = identified["outcome"]["faces"]
    assert (face["decision"], face["matches"], face["candidates"]) == ("unknown", 0, [verified["subject"]])
    assert unknown["outcome"] == {"error": "subject_not_found"}
    assert (begun["outcome"], failed["outcome"]) == ({"state": "begun"}, {"error": "reference_not_found"})
    assert {line["gallery"] for line in (verified, identified, unknown)} == {verified["gallery"]}
    kept = json.dumps([verified, identified, unknown, begun, failed])
    assert [name for name in ("ada", gallery, "obama") if f'"{name}"' in kept] == []
