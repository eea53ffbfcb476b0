"""A gallery changes its model pack while a client asks without a pause: the job that embeds is killed half way and run
again, the gallery is cut over, rolled back, cut over again and finished, and no request fails."""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import httpx
import numpy as np
import pytest

from drills.faults.served import FACES, Photographs, address
from facesvc.bootstrap import open_extractor
from facesvc.config import Settings
from facesvc.core.types import FaceChoice
from facesvc.models.packs import Packs
from tests.support.commandline import CommandLine

OLD, NEW = "sface", "fusion"
EACH = 36
"""Photographs of each of two people: three transactions of the job."""
PROBE = 1000
"""Number of a photograph of each that is never enrolled."""
ROUNDS = 4
"""Of the client's requests, that must have gone well before the next step."""
CHANGE = "/v1/galleries/staff/model-change"
PATIENCE = 120
CLOSE = 1e-3
"""Squared L2 by which distances of two processes may differ: batches round."""


@dataclass(frozen=True)
class Contract:
    """What a pack says of itself, and the distance of each person's probe to the nearest of their photographs."""

    version: str
    threshold: float
    calibration: str | None
    nearest: dict[str, float]
    pair: float


def contract(packs: Path, name: str, photographs: Photographs, data: Path) -> Contract:
    """By the pack itself, without service, store or index."""
    pack = Packs(packs).load(name)
    with open_extractor(Settings(data=data, workers=1), pack) as extractor:

        def vector(photograph: str) -> Any:
            capture = extractor.extract(photographs(photograph), FaceChoice.PROMINENT)
            return capture.samples[0].template.vector.astype(float)

        probes = {owner: vector(f"{owner} {PROBE}") for owner in FACES}
        nearest = {
            owner: min(float(np.square(vector(f"{owner} {i}") - probe).sum()) for i in range(EACH))
            for owner, probe in probes.items()
        }
        known = extractor.calibration.id if extractor.calibration else None
        pair = float(np.square(probes["w0"] - probes["w1"]).sum())
        return Contract(extractor.template_version, extractor.threshold, known, nearest, pair)


@dataclass
class Client:
    """Asks and asks. allowed: versions that may answer; wrong: every answer that was not as it must be."""

    url: str
    photographs: Photographs
    contracts: dict[str, Contract]
    allowed: set[str]
    default: str
    wrong: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    ended: bool = False
    changed: Condition = field(default_factory=Condition)

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as http:
            turn = 0
            while not self.ended and not self.wrong:
                owner = list(FACES)[turn % len(FACES)]
                try:
                    self.ask(http, owner)
                except Exception as error:
                    self.wrong.append(repr(error))
                turn += 1
                with self.changed:
                    self.changed.notify_all()

    def ask(self, http: httpx.Client, owner: str) -> None:
        probe = ("probe", ("probe.jpg", self.photographs(f"{owner} {PROBE}")))
        other = ("reference", ("other.jpg", self.photographs(f"{'w1' if owner == 'w0' else 'w0'} {PROBE}")))
        pair = http.post("/v1/verify", files=[probe, other])
        self.check(pair, {self.default}, lambda found: self.contracts[found].pair, match=False)
        before = set(self.allowed)
        subject = http.post("/v1/verify", files=[probe], data={"gallery": "staff", "subject": owner})
        version = self.check(subject, before | self.allowed, lambda found: self.contracts[found].nearest[owner])
        before = set(self.allowed)
        named = http.post("/v1/identify", files=[("image", probe[1])], data={"gallery": "staff"})
        answer = named.json()
        (face,) = answer["faces"]
        best = face["candidates"][0]
        flat = {**answer, **best} if best["subject"] == owner else {}
        self.compare(named.status_code, flat, before | self.allowed, lambda found: self.contracts[found].nearest[owner])
        self.seen[version] += 1

    def check(
        self, answer: httpx.Response, allowed: set[str], distance: Callable[[str], float], match: bool = True
    ) -> str:
        return self.compare(answer.status_code, answer.json(), allowed, distance, match)

    def compare(
        self,
        status: int,
        found: dict[str, Any],
        allowed: set[str],
        distance: Callable[[str], float],
        match: bool = True,
    ) -> str:
        version = found.get("template_version")
        if status != 200 or version not in allowed:
            self.wrong.append(f"{status} {found}, allowed are {allowed}")
            return ""
        wanted = self.contracts[version]
        said = (found["match"], found["threshold"], found["calibration"])
        if said != (match, wanted.threshold, wanted.calibration) or abs(found["distance"] - distance(version)) > CLOSE:
            self.wrong.append(f"{found} is not {wanted}")
        return version

    def wait(self, version: str) -> None:
        """Until some more answers were right, with this version."""
        enough = self.seen[version] + ROUNDS
        with self.changed:
            done = self.changed.wait_for(lambda: self.wrong or self.seen[version] >= enough, PATIENCE)
        assert self.wrong == []
        assert done

    def move(self, http: httpx.Client, action: str, to: str) -> dict[str, Any]:
        """Cuts over or rolls back; once that is acknowledged, no other version may answer."""
        self.allowed = {*self.allowed, to}
        answer = http.post(f"{CHANGE}/{action}").raise_for_status().json()
        self.allowed = {to}
        self.wait(to)
        return answer


@contextmanager
def asking(client: Client) -> Iterator[None]:
    thread = Thread(target=client.run, name="client")
    thread.start()
    try:
        yield
    finally:
        client.ended = True
        thread.join()


@contextmanager
def serving(cli: CommandLine, options: tuple[object, ...], log: Path) -> Iterator[str]:
    with log.open("wb") as said:
        server = subprocess.Popen(cli.command(*options, "serve", "--dev", "--port", 0), stderr=said)
    try:
        yield address(server, log)
    finally:
        server.kill()
        server.wait()


def enrol(http: httpx.Client, photographs: Photographs) -> None:
    http.post("/v1/galleries", json={"name": "staff", "keep_photographs": True}).raise_for_status()
    for owner in FACES:
        for start in range(0, EACH, 12):
            names = (f"{owner} {i}" for i in range(start, start + 12))
            files = [("images", (f"{name}.jpg", photographs(name))) for name in names]
            address = f"/v1/galleries/staff/subjects/{owner}/references"
            answer = http.post(address, files=files, data={"strict": "false"}).raise_for_status()
            assert answer.json()["enrolled"] == 12


def kill_half_way(command: list[str], http: httpx.Client) -> int:
    """Runs the job and kills it after its first transaction; how many references it had done."""
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while job.poll() is None and not done(http):
        with suppress(subprocess.TimeoutExpired):
            job.wait(0.02)
    job.kill()
    assert job.wait() == -9, "it was done before it could be killed"
    return done(http)


def done(http: httpx.Client) -> int:
    return http.get(CHANGE).json()["other"]["templates"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_fails(url: str, tmp_path: Path, samples: Path, locked_build: Callable[[str], Path]) -> None:
    packs, photographs = locked_build(OLD), Photographs(samples)
    locked_build(NEW)
    cli = CommandLine.over(tmp_path / "data", packs)
    options = ("--pack", OLD, "--database-url", url)
    old, new = (contract(packs, name, photographs, cli.data) for name in (OLD, NEW))
    contracts = {known.version: known for known in (old, new)}
    with serving(cli, options, tmp_path / "log") as server, httpx.Client(base_url=server, timeout=60) as http:
        enrol(http, photographs)
        client = Client(server, photographs, contracts, {old.version}, old.version)
        with asking(client):
            client.wait(old.version)
            http.post(CHANGE, json={"pack": NEW}).raise_for_status()
            job = (*options, "galleries", "model", "run", "staff")
            half = kill_half_way(cli.command(*job), http)
            assert 0 < half < 2 * EACH
            client.wait(old.version)
            late = [("images", ("late.png", next(samples.rglob("astronaut.*")).read_bytes()))]  # is embedded by both
            http.post("/v1/galleries/staff/subjects/late/references", files=late).raise_for_status()
            assert done(http) == half + 1
            assert cli.json(*job)["other"] == {
                "template_version": new.version, "state": "filling", "templates": 2 * EACH + 1,
            }  # fmt: skip
            assert client.seen[new.version] == 0
            http.delete("/v1/galleries/staff/subjects/late").raise_for_status()
            client.move(http, "cut-over", new.version)
            client.move(http, "roll-back", old.version)
            client.move(http, "cut-over", new.version)
            finished = http.post(f"{CHANGE}/finish").raise_for_status().json()
            client.wait(new.version)
    assert client.wrong == []
    assert (finished["template_version"], finished["other"]) == (new.version, None)
    assert min(client.seen[old.version], client.seen[new.version]) >= 2 * ROUNDS
