"""The database, the snapshots, the logs and a normal API key are stolen, the master key is not: a thief looks for
names, photographs and templates, tries to match a face that he knows, to start the service on his copy, and to get more
with the key."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from drills import needles
from drills.ground import Real, Served, facesvc, prepared, serving
from facesvc.bootstrap import load_pack, open_extractor
from facesvc.config import Settings
from facesvc.core.types import FaceChoice

GALLERY = "clients of the bank"
CLIENTS = {
    "client-0001-obama": ("Barack H. Obama II", "obama"),
    "client-0002-biden": ("Joseph R. Biden Jr.", "biden"),
    "client-0003-again": ("A man with two names", "obama"),
}
KNOWN = "obama2"
"""The thief's own photograph of a client."""
NUMBERS = 128
FORBIDDEN = (
    ("GET", "/v1/galleries"),
    ("GET", "/v1/galleries/clients%20of%20the%20bank"),
    ("GET", "/v1/galleries/clients%20of%20the%20bank/subjects"),
    ("GET", "/v1/galleries/clients%20of%20the%20bank/subjects/client-0001-obama"),
    ("GET", "/v1/galleries/clients%20of%20the%20bank/subjects/client-0001-obama/export"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/api-keys"),
    ("GET", "/metrics"),
    ("POST", "/v1/identify"),
)


@dataclass(frozen=True)
class Found:
    """places: needles in the clear, by file; rows: counts by table; nearest: squared L2 of the known face to whatever
    128 numbers lie in the files; equal: stored bytes that the two enrolments of one photograph share; refused: what
    copies of the service said without the master key; answered: what the key got, of what it must not get."""

    looked_for: int
    files: int
    places: dict[str, list[str]]
    rows: dict[str, int]
    nearest: float
    equal: int
    refused: list[str]
    answered: list[str]


def drill(folder: Path, real: Real) -> Found:
    data, loot = folder / "data", folder / "loot"
    with serving(data, real, dev=False) as served:
        key = facesvc(data, real, "api-keys", "create", "--role", "administer", "--json")
        with client(served, json.loads(key.stdout)["key"]) as administrator:
            enrol(administrator, real)
            issued = administrator.post("/v1/api-keys", json={"roles": ["verify"]}).raise_for_status().json()
        with client(served, issued["key"]) as thief:
            answered = list(overstep(thief, real))
        shutil.copytree(data, loot, ignore=shutil.ignore_patterns("master.key", "packs"))
    wanted = secrets(real, data, issued["key"])
    return Found(
        looked_for=sum(len(pieces) for pieces in wanted.values()),
        files=len(needles.files(loot)),
        places=needles.found(loot, wanted),
        rows=counted(loot),
        nearest=nearest(loot, template(real, data)),
        equal=equal(loot),
        refused=[start(loot, real), start(loot, real, FACESVC_MASTER_KEY=os.urandom(32).hex())],
        answered=answered,
    )


def client(served: Served, key: str) -> httpx.Client:
    return httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def enrol(administrator: httpx.Client, real: Real) -> None:
    made = administrator.post(
        "/v1/galleries", json={"name": GALLERY, "keep_photographs": True, "metadata": {"branch": "Gotham City"}}
    )
    made.raise_for_status()
    path = f"/v1/galleries/{GALLERY}/subjects"
    for subject, (name, photograph) in CLIENTS.items():
        told = {
            "id": subject,
            "display_name": name,
            "metadata": {"account": f"IBAN-{subject}"},
            "consent": f"c-{subject}",
        }
        administrator.post(path, json=told).raise_for_status()
        files = {"images": real.photographs[photograph]}
        named = {"Idempotency-Key": f"request of {subject}"}
        administrator.post(f"{path}/{subject}/references", files=files, headers=named).raise_for_status()
    asked = administrator.post("/v1/identify", files={"image": real.photographs[KNOWN]}, data={"gallery": GALLERY})
    assert asked.json()["faces"][0]["candidates"][0]["subject"] in CLIENTS


def overstep(thief: httpx.Client, real: Real) -> Iterator[str]:
    """What a key that may only verify was answered, of what it must not be told."""
    for method, path in FORBIDDEN:
        files = {"image": real.photographs[KNOWN]} if method == "POST" else None
        answer = thief.request(method, path, files=files)
        if answer.status_code != 403:
            yield f"{method} {path}: {answer.status_code}"


def secrets(real: Real, data: Path, key: str) -> dict[str, list[bytes]]:
    """What must not lie anywhere, in the clear or as a digest that anybody can compute."""
    photographs = [real.photographs[name] for _, name in CLIENTS.values()]
    digests = [hashlib.sha256(photograph) for photograph in photographs]
    return {
        "gallery": [GALLERY.encode(), b"Gotham City"],
        "subjects": [subject.encode() for subject in CLIENTS],
        "names": [name.encode() for name, _ in CLIENTS.values()],
        "photographs": [piece for photograph in photographs for piece in needles.pieces(photograph)],
        "digests of photographs": [form for d in digests for form in (d.digest(), d.hexdigest().encode())],
        "digests of names": [hashlib.sha256(subject.encode()).hexdigest().encode() for subject in (*CLIENTS, GALLERY)],
        "templates": needles.pieces(template(real, data, "obama").astype("<f4").tobytes()),
        "API key": [key.encode(), key.rpartition("_")[2].encode(), hashlib.sha256(key.encode()).hexdigest().encode()],
    }


def template(real: Real, data: Path, photograph: str = KNOWN) -> NDArray[np.float32]:
    """(128,) as anybody computes it who has the model pack, which is public."""
    settings = Settings(data=data, pack=real.pack)
    with open_extractor(settings, load_pack(settings)) as pipeline:
        return pipeline.extract(real.photographs[photograph], FaceChoice.PROMINENT).samples[0].template.vector


def counted(loot: Path) -> dict[str, int]:
    with sqlite3.connect(loot / "facesvc.db") as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {t: database.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables if "sqlite" not in t}


def nearest(loot: Path, known: NDArray[np.float32]) -> float:
    """The least squared L2 between the known face and any 128 consecutive float32 of any stored value."""
    best = 4.0
    for value in blobs(loot):
        for offset in range(len(value) - 4 * NUMBERS + 1):
            vector = np.frombuffer(value, "<f4", NUMBERS, offset)
            if np.isfinite(vector).all() and vector.any():  # what is sealed is any bits, also those of no number
                wide = vector.astype(np.float64)
                best = min(best, float(2 - 2 * np.dot(wide / np.linalg.norm(wide), known)))
    return best


def blobs(loot: Path) -> list[bytes]:
    """Templates, and all else that is small: photographs are searched as such."""
    with sqlite3.connect(loot / "facesvc.db") as database:
        found = [value for (value,) in database.execute("SELECT vector FROM templates")]
        return found + [value for (value,) in database.execute("SELECT sealed FROM face_references")]


def equal(loot: Path) -> int:
    """How many sealed values stand twice in the database: whoever sees equal ones knows that they are of one thing."""
    values: list[Any] = blobs(loot)
    with sqlite3.connect(loot / "facesvc.db") as database:
        for column, table in (("content", "photographs"), ("sealed", "subjects"), ("sealed_key", "subjects")):
            values += [value for (value,) in database.execute(f"SELECT {column} FROM {table}")]
    return len(values) - len(set(values))


def start(loot: Path, real: Real, **variables: str) -> str:
    """The code with which the service refuses to open the copy."""
    copy = loot.with_name(f"copy-{len(variables)}")
    shutil.copytree(loot, copy)
    (copy / "packs").symlink_to(real.packs)
    done = facesvc(copy, real, "galleries", "list", code=2, **variables)
    return done.stderr.decode().strip().rpartition("[")[2].rstrip("]")


def require(found: Found) -> None:
    assert found.places == {}, found.places
    assert found.nearest > 1.1, f"a stored value lies at {found.nearest} from a known face"
    assert found.equal == 0, f"{found.equal} sealed values are equal"
    assert found.refused == ["master_key_unavailable"] * 2, found.refused
    assert found.answered == [], found.answered


def line(found: Found) -> str:
    rows = ", ".join(f"{count} {table}" for table, count in sorted(found.rows.items()) if count)
    return (
        f"0 of {found.looked_for} names, photographs, templates, digests in {found.files} files; no stored value "
        f"nearer than {found.nearest:.2f} to a known face; the service opens the copy neither without nor with another "
        f"master key; a key that may verify got 0 of {len(FORBIDDEN)} other things. What is seen: sizes, moments, "
        f"and {rows}"
    )


def run(folder: Path) -> str:
    found = drill(folder, prepared())
    require(found)
    return line(found)
