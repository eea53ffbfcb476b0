"""Rounds with the real server: two clients over HTTP with real photographs, and the server is killed.

The next round starts the server anew on the same database, where it must go on with what it had acknowledged.
"""

import re
import subprocess
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
from PIL import Image

from drills.faults.access import Candidates
from drills.faults.ground import PACK, Ground, Outcome, Running, Stage
from drills.faults.journal import Journal
from drills.faults.kinds import kind
from drills.faults.moments import ANY_TIME
from drills.faults.worker import Orders, labour
from drills.faults.world import SHARED
from tests.support.commandline import CommandLine
from tests.support.databases import keep_master_key

LONGEST_SECONDS = 4.0
START_SECONDS = 120
SIDE = 360
"""Pixels of the photographs: a request takes some 50 ms."""
OFFSETS = 40
FACES = {"w0": "people/obama/obama.jpg", "w1": "people/biden/biden.jpg"}


@dataclass(frozen=True)
class Photographs:
    """The bytes that a photograph's name stands for: a sample, cut a little differently for each number."""

    samples: Path

    def __call__(self, photograph: str) -> bytes:
        owner, number = photograph.split()
        left, top = divmod(int(number), OFFSETS)
        content = BytesIO()
        whole = small(self.samples / FACES[owner])
        whole.crop((left, top, whole.width - OFFSETS, whole.height - OFFSETS)).save(content, "JPEG", quality=90)
        return content.getvalue()


@cache
def small(path: Path) -> Image.Image:
    with Image.open(path) as photograph:
        photograph.thumbnail((SIDE + OFFSETS, SIDE + OFFSETS))
        return photograph.copy()


class Remote:
    """drills.faults.access.Access over HTTP. Raises httpx.HTTPStatusError for any answer that is an error."""

    def __init__(self, url: str, photographs: Photographs) -> None:
        self.client, self.content = httpx.Client(base_url=url, timeout=60), photographs

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self.client.request(method, path, **request).raise_for_status()

    def enrol(self, gallery: str, person: str, photographs: Sequence[str], key: str | None) -> list[str]:
        files = [("images", ("photograph.jpg", self.content(name))) for name in photographs]
        headers = {"Idempotency-Key": key} if key else {}
        address, data = f"{subject(gallery, person)}/references", {"strict": "false"}
        answer = self.ask("POST", address, files=files, data=data, headers=headers)
        return [result["reference"] for result in answer.json()["results"]]

    def delete_reference(self, gallery: str, person: str, reference: str) -> None:
        self.ask("DELETE", f"{subject(gallery, person)}/references/{reference}")

    def read_photograph(self, gallery: str, person: str, reference: str) -> bytes:
        return self.ask("GET", f"{subject(gallery, person)}/references/{reference}/photograph").content

    def create_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None:
        made = {"id": person, "display_name": called, "metadata": metadata}
        self.ask("POST", f"{galleries(gallery)}/subjects", json=made)

    def change_person(self, gallery: str, person: str, called: str, metadata: dict[str, object]) -> None:
        self.ask("PATCH", subject(gallery, person), json={"display_name": called, "metadata": metadata})

    def delete_person(self, gallery: str, person: str) -> None:
        self.ask("DELETE", subject(gallery, person))

    def create_gallery(self, gallery: str, keeps: bool) -> None:
        self.ask("POST", "/v1/galleries", json={"name": gallery, "keep_photographs": keeps})

    def change_gallery(self, gallery: str, keeps: bool) -> None:
        self.ask("PATCH", galleries(gallery), json={"keep_photographs": keeps})

    def delete_gallery(self, gallery: str) -> None:
        self.ask("DELETE", galleries(gallery))

    def search(self, gallery: str, photograph: str, top_k: int) -> Candidates:
        files = [("image", ("photograph.jpg", self.content(photograph)))]
        answer = self.ask("POST", "/v1/identify", files=files, data={"gallery": gallery, "top_k": str(top_k)})
        (face,) = answer.json()["faces"]
        return [(c["subject"], c["distance"], c["reference"]) for c in face["candidates"]]

    def change_model(self, gallery: str, turn: float) -> str:
        """Only looks: another pack would take the server longer to load than a round lasts."""
        return str(self.ask("GET", f"{galleries(gallery)}/model-change").json()["other"])

    def follow(self) -> None:
        """The server does so by itself."""


def galleries(gallery: str) -> str:
    return f"/v1/galleries/{quote(gallery, safe='')}"


def subject(gallery: str, person: str) -> str:
    return f"{galleries(gallery)}/subjects/{quote(person, safe='')}"


@kind("server", share=0.04, real=True)
def served(stage: Stage, chance: Random) -> Outcome:
    assert stage.real
    ground = stage.ground("served")
    photographs = Photographs(stage.real.samples)
    said = ground.folder / f"{ground.rounds}-server.log"
    server = serve(stage, ground.url, said)
    try:
        url = address(server, said)
        share(url)
        clients = [Running.start(call, url, photographs, orders) for orders in told(ground, chance)]
        with suppress(subprocess.TimeoutExpired):
            server.wait(chance.uniform(0, LONGEST_SECONDS))
    finally:
        server.kill()
        server.wait()
    for client in clients:
        client.end()
    findings, flights, acknowledged = ground.examine(photographs)
    return Outcome("server", stage.database, ANY_TIME, flights["w0"], acknowledged, findings.violations)


def told(ground: Ground, chance: Random) -> list[Orders]:
    return [Orders(ground.url, w, chance.getrandbits(32), ground.journal(w.owner), None) for w in ground.worlds]


def serve(stage: Stage, database: str, said: Path) -> subprocess.Popen[bytes]:
    assert stage.real
    data = said.parent / "data"
    cli = CommandLine(data) if data.exists() else CommandLine.over(data, stage.real.packs)
    keep_master_key(data)
    with said.open("wb") as log:
        return subprocess.Popen(
            cli.command("--pack", PACK, "--database-url", database, "serve", "--dev", "--port", 0), stderr=log
        )


def address(server: subprocess.Popen[bytes], said: Path) -> str:
    """The server's URL, once it is ready."""
    for _ in range(START_SECONDS * 20):
        if ready := re.search(r"ready at (\S+)", said.read_text()):
            return ready[1]
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.05)
            break
    raise RuntimeError(f"the server did not start: {said.read_text()}")


def share(url: str) -> None:
    answer = httpx.post(f"{url}/v1/galleries", json={"name": SHARED, "keep_photographs": True})
    assert answer.status_code in (201, 409), answer.text


def call(url: str, photographs: Photographs, orders: Orders, channel: Connection) -> None:
    """A client, until the server is gone. Any other end is a failure."""
    journal = Journal(orders.journal)
    channel.send("ready")
    try:
        labour(Remote(url, photographs), orders.world, Random(orders.seed), journal, channel)
    except httpx.TransportError:
        return  # killed: what was asked last has no answer
    except Exception:
        journal.failed(traceback.format_exc())
