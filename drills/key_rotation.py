"""The data key is rotated, killed half way and resumed, then the master key is replaced, while clients enrol, verify
and identify at a real server without one failed request."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import httpx

from drills.crowd import gather
from drills.ground import Real, command, environment, facesvc, prepared, serving

CROWD = 12_000
"""References of 6,000 subjects, whose keys are to be wrapped anew."""
CLIENTS = 2
SECONDS = 120


@dataclass(frozen=True)
class Found:
    """half: subjects under the old and the new data key when the rotation was killed; after: the same at the end;
    asked, failed: requests; kept: enrolled subjects that answered to a server with the new master key."""

    half: dict[int, int]
    after: dict[int, int]
    asked: int
    failed: list[str]
    enrolled: int
    kept: int


def drill(folder: Path, real: Real, crowd: int = CROWD) -> Found:
    data = folder / "data"
    with serving(data, real) as served, served.client() as client:
        client.post("/v1/galleries", json={"name": "people"}).raise_for_status()
    gather(folder, data, real, crowd)
    new = data / "second.key"
    with serving(data, real) as served, asking(served.url, real) as told:
        half = kill_half_way(data, real)
        facesvc(data, real, "keys", "rotate-data")
        after = wrapped(data)
        facesvc(data, real, "keys", "rotate-master", "--new-file", new)
        facesvc(data, real, "galleries", "list", code=2)  # the old master key opens nothing any more
    requests, failed, enrolled = told.count, told.failed, told.enrolled
    with serving(data, real, master_key_file=new) as served, served.client() as client:
        kept = sum(verified(client, real, subject) for subject in enrolled)
    return Found(half, after, requests, failed, len(enrolled), kept)


class Told:
    """What clients saw."""

    def __init__(self) -> None:
        self.count, self.failed, self.enrolled = 0, list[str](), list[str]()

    def ask(self, client: httpx.Client, real: Real, subject: str) -> None:
        path = f"/v1/galleries/people/subjects/{subject}/references"
        answers = (
            client.post(path, files={"images": real.photographs["obama"]}),
            client.post(
                "/v1/verify",
                files={"probe": real.photographs["obama2"]},
                data={"subject": subject, "gallery": "people"},
            ),
            client.post("/v1/identify", files={"image": real.photographs["obama2"]}, data={"gallery": "people"}),
        )
        self.count += len(answers)
        self.failed += [f"{answer.url} {answer.status_code}" for answer in answers if answer.is_error]
        if not answers[1].is_error and not answers[1].json()["match"]:
            self.failed.append(f"{subject} did not match")
        self.enrolled.append(subject)


@contextmanager
def asking(url: str, real: Real) -> Iterator[Told]:
    """Clients that ask without a pause until the context ends."""
    told, ended = Told(), Event()

    def work(name: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not ended.is_set():
                told.ask(client, real, f"{name}-{len(told.enrolled)}")

    threads = [Thread(target=work, args=(f"client{number}",)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def kill_half_way(data: Path, real: Real) -> dict[int, int]:
    """Kills a rotation once it has begun to wrap keys anew; what is under which data key then."""
    process = subprocess.Popen(
        command(data, "keys", "rotate-data"),
        env=environment({"pack": real.pack}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if wrapped(data).get(2, 0) > CROWD // 20:
            process.kill()
    process.kill()
    process.wait()
    return wrapped(data)


def wrapped(data: Path) -> dict[int, int]:
    """Subjects by the data key that wraps theirs."""
    with sqlite3.connect(f"file:{data / 'facesvc.db'}?mode=ro", uri=True, timeout=60) as database:
        return dict(database.execute("SELECT data_key, count(*) FROM subjects GROUP BY data_key"))


def verified(client: httpx.Client, real: Real, subject: str) -> bool:
    asked = {"subject": subject, "gallery": "people"}
    return client.post("/v1/verify", files={"probe": real.photographs["obama2"]}, data=asked).json()["match"]


def require(found: Found) -> None:
    assert found.half.get(1, 0) > 0, f"the rotation was not killed half way: {found.half}"
    assert found.half.get(2, 0) > 0, found.half
    assert set(found.after) == {2}, found.after
    assert found.asked > 0, "nobody asked"
    assert found.failed == [], found.failed[:5]
    assert found.kept == found.enrolled, f"{found.enrolled - found.kept} enrolled subjects are not there"


def line(found: Found) -> str:
    return (
        f"killed with {found.half[1]} subjects under the old data key and {found.half[2]} under the new, resumed: all "
        f"{found.after[2]} under the new; master key replaced; {found.asked} requests of {CLIENTS} clients meanwhile, "
        f"{len(found.failed)} failed; {found.kept} of {found.enrolled} enrolled there under the new master key"
    )


def run(folder: Path) -> str:
    found = drill(folder, prepared())
    require(found)
    return line(found)
