"""A person is enrolled among ten thousand, with names, consent and photographs, and erased: their bytes are then looked
for in every file of the service, the receipt is checked, and one flipped byte in the audit log is found."""

import base64
import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from drills import needles
from drills.crowd import gather
from drills.ground import Real, facesvc, prepared, serving
from facesvc.core.audit import canonical

CROWD = 10_200
"""References beside whom the person stands: enough for a snapshot of the index."""
SECONDS = 60
WHO = {
    "id": "person-7f3a9c",
    "display_name": "Augusta Byron Drill",
    "consent": "paper 55-drill",
    "metadata": {"badge": "drill-4711"},
}
PHOTOGRAPHS = ("obama", "obama2")
PATH = f"/v1/galleries/people/subjects/{WHO['id']}"


@dataclass(frozen=True)
class Found:
    """before, after: which needles lay in which files; statement: of the receipt; detail: what was said of the log."""

    before: dict[str, list[str]]
    after: dict[str, list[str]]
    statement: dict[str, Any]
    files: int
    detail: str


def drill(folder: Path, real: Real, crowd: int = CROWD) -> Found:
    data = folder / "data"
    with serving(data, real, follow_seconds=0.2) as served, served.client() as client:
        client.post("/v1/galleries", json={"name": "people", "keep_photographs": True}).raise_for_status()
        enrol(client, real)
    gather(folder, data, real, crowd)
    with serving(data, real, follow_seconds=0.2) as served, served.client() as client:
        kept = stored(data)
        wait_for_snapshot(data, client)
        wanted = plain(real) | {f"stored {what}": needles.pieces(content) for what, content in kept.items()}
        before = needles.found(data, wanted)
        receipt = client.post(f"{PATH}/erasure").raise_for_status().json()
        verify_receipt(receipt)
        after = needles.found(data, wanted)
        count = len(needles.files(data))
    return Found(before, after, receipt["statement"], count, flip(data, real))


def enrol(client: httpx.Client, real: Real) -> None:
    client.post("/v1/galleries/people/subjects", json=WHO).raise_for_status()
    files = [("images", real.photographs[name]) for name in PHOTOGRAPHS]
    named = {"Idempotency-Key": "drill"}
    assert client.post(f"{PATH}/references", files=files, headers=named).json()["enrolled"] == len(PHOTOGRAPHS)
    face = client.post("/v1/identify", files={"image": real.photographs["obama"]}, data={"gallery": "people"}).json()
    assert face["faces"][0]["candidates"][0]["subject"] == WHO["id"]


def wait_for_snapshot(data: Path, client: httpx.Client) -> None:
    """Until the index, with the person in it, is on disk."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if any((data / "snapshots").rglob("manifest.json")):
            return
        client.get("/healthz")
    raise AssertionError("there is no snapshot")


def plain(real: Real) -> dict[str, list[bytes]]:
    """What is known of the person, as it is."""
    told = {name: [str(value).encode()] for name, value in WHO.items() if name != "metadata"}
    photographs = [piece for name in PHOTOGRAPHS for piece in needles.pieces(real.photographs[name])]
    return told | {"metadata": [b"drill-4711"], "photograph": photographs}


def stored(data: Path) -> dict[str, bytes]:
    """What the database holds of the person, as it lies there: the first subject, and a reference of it."""
    with sqlite3.connect(f"file:{data / 'facesvc.db'}?mode=ro", uri=True) as database:
        (key, sealed_key, sealed) = database.execute(
            "SELECT key, sealed_key, sealed FROM subjects ORDER BY key LIMIT 1"
        ).fetchone()
        (reference,) = database.execute(
            "SELECT key FROM face_references WHERE subject_key = ? ORDER BY key DESC LIMIT 1", [key]
        ).fetchone()
        (vector,) = database.execute("SELECT vector FROM templates WHERE reference_key = ?", [reference]).fetchone()
        (photograph,) = database.execute(
            "SELECT content FROM photographs WHERE reference_key = ?", [reference]
        ).fetchone()
        (answer,) = database.execute("SELECT answer FROM idempotent_answers WHERE subject_key = ?", [key]).fetchone()
    found = {"key": sealed_key, "names": sealed, "vector": vector, "photograph": photograph, "answer": answer}
    return {what: content for what, content in found.items() if content is not None}


def verify_receipt(receipt: dict[str, Any]) -> None:
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(receipt["signature"]["public_key"]))
    key.verify(base64.b64decode(receipt["signature"]["value"]), canonical(receipt["statement"]))


def flip(data: Path, real: Real) -> str:
    """What `facesvc audit verify` says of a log in which one bit is another."""
    facesvc(data, real, "audit", "verify")
    with sqlite3.connect(data / "facesvc.db") as database:
        (entry,) = database.execute("SELECT entry FROM audit WHERE tenant = 'default' AND sequence = 5").fetchone()
        middle = len(entry) // 2
        changed = entry[:middle] + bytes([entry[middle] ^ 1]) + entry[middle + 1 :]
        database.execute("UPDATE audit SET entry = ? WHERE tenant = 'default' AND sequence = 5", [changed])
    said: str = json.loads(facesvc(data, real, "audit", "verify", "--json", code=1).stdout)["detail"]
    return said


def require(found: Found) -> None:
    assert {what for what in found.before if what.startswith("stored ")}, "nothing was there before the erasure"
    assert found.after == {}, found.after
    assert found.statement["remaining"] == {"database": 0, "snapshots": 0}
    assert found.detail.startswith("line 5 was altered"), found.detail


def line(found: Found) -> str:
    return (
        f"{found.statement['photographs']} photographs, names, consent, vectors: before the erasure "
        f"{sum(map(len, found.before.values()))} finds ({', '.join(found.before)}), after it {len(found.after)} in "
        f"{found.files} files; the receipt verifies; one flipped bit in the audit log: {found.detail!r}"
    )


def run(folder: Path) -> str:
    found = drill(folder, prepared())
    require(found)
    return line(found)
