"""Nothing that is secret reaches what the server writes: it is made to fail in every way that comes to mind, and all
that it wrote and answered is searched for its keys, passwords, names and photographs."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx

from drills.ground import Real, Served, prepared, serving

PASSWORD = "hunter2-of-the-database"
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
METRICS_TOKEN = "metrics-token-7f3a"
NAME, SUBJECT, GALLERY = "Ada Lovelace-Byron", "employee-4711-ada", "department-of-secrets"
METADATA = "blood type AB negative"
IN_PATHS = ("subject", "gallery")
NOTED = 24
"""Bytes of a photograph by which it is known."""


def measure(folder: Path, real: Real) -> tuple[str, dict[str, list[str]]]:
    """All that the server wrote, and for each secret by what it is called where it was found."""
    photograph = real.photographs["obama"]
    with serving(
        folder,
        real,
        dev=False,
        master_key=MASTER_KEY,
        metrics_token=METRICS_TOKEN,
    ) as served:
        key = first_key(served)
        answers = list(provoke(served, key, photograph))
    written = served.log.read_text(errors="replace").replace(key, "", 1)  # the first key is shown once, on purpose
    with_password = unreachable(folder.with_name("unreachable"), real)
    everything = {"log": written, "log of a start without database": with_password, "answers": "\n".join(answers)}
    places = {name: found(secret, everything) for name, secret in secrets(key, photograph).items()}
    for name in IN_PATHS:  # an answer may repeat to its caller where he asked
        places[name] = [place for place in places[name] if place != "answers"]
    return written, places


def secrets(key: str, photograph: bytes) -> dict[str, str]:
    middle = photograph[len(photograph) // 2 :]
    return {
        "API key": key.rpartition("_")[2],
        "database password": PASSWORD,
        "master key": MASTER_KEY,
        "metrics token": METRICS_TOKEN,
        "display name": NAME,
        "subject": SUBJECT,
        "gallery": GALLERY,
        "metadata": METADATA,
        "photograph": middle[:NOTED].decode("latin-1"),
        "photograph, escaped": repr(middle[:NOTED])[2:-1],
        "photograph in base64": base64.b64encode(photograph)[900:940].decode(),
    }


def found(secret: str, everything: dict[str, str]) -> list[str]:
    return [where for where, text in everything.items() if secret in text]


def first_key(served: Served) -> str:
    """The administrator's key that the first start prints."""
    return next(
        word for line in served.log.read_text().splitlines() for word in line.split() if word.startswith("facesvc_")
    )


def provoke(served: Served, key: str, photograph: bytes) -> Iterator[str]:
    """Bodies and headers of answers that must hold nothing secret: errors, metrics, and what tells of no person."""
    path = f"/v1/galleries/{GALLERY}/subjects"
    encoded = base64.b64encode(photograph).decode()
    person = {"id": SUBJECT, "display_name": NAME, "metadata": {"note": METADATA}}
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        assert client.post("/v1/galleries", json={"name": GALLERY}).status_code == 201
        assert client.post(path, json=person).status_code == 201
        enrolled = client.post(f"{path}/{SUBJECT}/references", files={"images": photograph})
        assert enrolled.status_code == 201, enrolled.text
        assert client.post("/v1/identify", files={"image": photograph}, data={"gallery": GALLERY}).status_code == 200
        failing = [
            client.post("/v1/detect", content=photograph, headers={"Content-Type": "application/json"}),
            client.post("/v1/detect", json={"image": {"base64": encoded + "%"}}),
            client.post("/v1/detect", json={"image": encoded}),
            client.post("/v1/verify", files={"probe": photograph, "reference": photograph[:5000]}),
            client.post("/v1/detect", files={"image": photograph[:-3000]}),
            client.post("/v1/identify", files={"image": photograph}, data={"top_k": METADATA}),
            client.get("/v1/galleries", headers={"Authorization": f"Bearer {key[:-1]}x"}),
            client.get("/v1/galleries", headers={"Authorization": f"Basic {key}"}),
            client.get(f"/v1/galleries?limit=1&token={key}"),
            client.get("/metrics"),
            client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}x"}),
            client.get("/openapi.json"),
        ]
        failing.append(httpx.post(f"{served.url}/v1/galleries", json=person | {"api_key": key}))
        damage(served.log.with_name("facesvc.db"))
        failing.append(client.post(path, json=person | {"id": "another"}))
        failing.append(client.post(f"{path}/{SUBJECT}/references", files={"images": photograph + b" "}))
        assert [answer.status_code // 100 for answer in failing[-2:]] == [5, 5], [
            answer.text for answer in failing[-2:]
        ]
        for answer in failing:
            yield f"{answer.status_code} {json.dumps(dict(answer.headers))} {answer.text}"


def damage(database: Path) -> None:
    """Takes the table of subjects away, so that every statement about them fails."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE subjects RENAME TO gone")
        connection.commit()


def unreachable(folder: Path, real: Real) -> str:
    """What a start says whose database does not answer."""
    url = f"postgresql+psycopg://facesvc:{PASSWORD}@127.0.0.1:1/facesvc"
    with suppress(AssertionError), serving(folder, real, dev=False, database_url=url, master_key=MASTER_KEY):
        return "it started without a database"
    said = (folder / "server.log").read_text()
    assert "store_unavailable" in said, said[-800:]
    return said


def require(leaks: dict[str, list[str]]) -> None:
    """Raises AssertionError."""
    leaked = {name: where for name, where in leaks.items() if where}
    assert not leaked, f"found: {leaked}"


def run(folder: Path) -> str:
    written, leaks = measure(folder / "data", prepared())
    require(leaks)
    return f"{len(leaks)} secrets searched for in {len(written.splitlines())} lines of log and in answers: none found"
