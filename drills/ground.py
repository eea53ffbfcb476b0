"""What drills stand on: sample photographs, a model pack, and the real server as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
import psutil

from drills.faults.ground import PACK
from drills.faults.rounds import prepare

START_SECONDS = 120


@dataclass(frozen=True)
class Real:
    """photographs: by name, as in ``tests.conftest``; packs: folder in which the pack ``pack`` is built."""

    packs: Path
    pack: str
    photographs: Mapping[str, bytes]


@cache
def prepared() -> Real:
    """Fetches the samples and builds the pack, once per machine."""
    real = prepare()
    found = {path.stem: path.read_bytes() for path in sorted(real.samples.rglob("*.[jp][pn]g"))}
    return Real(real.packs, PACK, found)


@dataclass(frozen=True)
class Served:
    """A server process. log: file of all it has written; headers: those of a caller who may do anything."""

    url: str
    process: psutil.Process
    log: Path
    headers: Mapping[str, str] = field(default_factory=dict)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=60)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def resident(self) -> int:
        """Bytes of memory in use now."""
        return self.process.memory_info().rss


@contextmanager
def serving(folder: Path, real: Real, **settings: object) -> Iterator[Served]:
    """`facesvc serve` over the data folder ``folder``. settings: as FACESVC_<NAME>."""
    folder.mkdir(exist_ok=True)
    if not (folder / "packs").exists():
        (folder / "packs").symlink_to(real.packs)
    log = folder / "server.log"
    with log.open("ab") as output:
        said = output.tell()  # by servers before this one
        process = subprocess.Popen(
            command(folder, "serve", "--port", 0),
            stdout=output,
            stderr=output,
            env=environment({"pack": real.pack, "dev": True} | settings),
        )
    try:
        yield Served(ready(log, process, said), psutil.Process(process.pid), log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def command(folder: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "facesvc", "--data", str(folder), *map(str, arguments)]


def facesvc(
    data: Path, real: Real, *arguments: object, code: int = 0, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """A command over the data folder ``data``, which must end with ``code``. variables: of its environment."""
    surroundings = environment({"pack": real.pack}) | variables
    done = subprocess.run(command(data, *arguments), env=surroundings, capture_output=True, timeout=600)
    assert done.returncode == code, done.stderr.decode()
    return done


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """This process's, without settings of the service but for ``settings``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FACESVC_")}
    return inherited | {f"FACESVC_{name.upper()}": str(value) for name, value in settings.items()}


def ready(log: Path, process: subprocess.Popen[bytes], start: int = 0) -> str:
    """The URL that a starting server announces, in its log from ``start`` on."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"ready at (\S+)", log.read_text()[start:]):
            return found[1]
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")
