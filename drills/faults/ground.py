"""Where rounds are held: a database, a service that follows along, and what the workers know."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from drills.faults.contents import Content
from drills.faults.inspection import Findings, inspect, misled
from drills.faults.journal import replay
from drills.faults.worker import open_service
from drills.faults.world import World
from facesvc.service import FaceService
from facesvc.storage.engine import open_engine
from tests.support.databases import make_keys

PATIENCE = 60.0
"""Seconds in which a worker must do something, or it is stuck."""
LONGEST = 25
"""Rounds on one database: its history grows with each."""
PACK = "sface"
"""Model pack of rounds with real photographs: it starts the quickest."""
processes = multiprocessing.get_context("forkserver")
"""Makes children of a process that has imported everything and opened nothing."""
processes.set_forkserver_preload(["__main__", "drills.faults.inspection"])


@dataclass
class Outcome:
    """What became of a round. moment: when the kill came; in_flight: what was being done then, None between two
    requests; acknowledged: requests answered, of all workers."""

    kind: str
    database: str
    moment: str
    in_flight: str | None = None
    acknowledged: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass
class Ground:
    """follower: a service that was there from the start and has caught up after each round. tainted: further rounds
    would only echo a violation."""

    url: str
    folder: Path
    follower: FaceService
    worlds: list[World]
    rounds: int = 0
    tainted: bool = False

    def journal(self, owner: str) -> Path:
        return self.folder / f"{self.rounds}-{owner}.jsonl"

    def examine(self, content: Content | None = None) -> tuple[Findings, dict[str, str | None], int]:
        """Ends a round: what is wrong, each worker's request in flight, and the number of those answered. Looks with
        the eyes of a new process, and through the index that followed."""
        histories = [replay(self.journal(world.owner), world) for world in self.worlds]
        findings: Findings = elsewhere(inspect, self.url, histories, content, self.folder / "snapshots")
        findings.violations += [f"index that followed: {wrong}" for wrong in misled(self.follower)]
        self.worlds, self.rounds = findings.worlds, self.rounds + 1
        self.tainted = bool(findings.violations)
        flights = {history.world.owner: history.in_flight for history in histories}
        return findings, flights, sum(history.acknowledged for history in histories)


@dataclass(frozen=True)
class Real:
    """What rounds with real photographs need. packs: folder of built model packs; samples: see facesvc.cli.samples."""

    packs: Path
    samples: Path


@dataclass
class Stage:
    """One kind of database, and the grounds on it. open_url: the URL of a new, migrated database."""

    database: str
    folder: Path
    open_url: Callable[[], AbstractContextManager[str]]
    real: Real | None
    exits: ExitStack
    grounds: dict[str, Ground] = field(default_factory=dict)

    def ground(self, purpose: str) -> Ground:
        """The one in use for ``purpose``, or a new one where that is old or tainted."""
        ground = self.grounds.get(purpose)
        if ground is None or ground.tainted or ground.rounds >= LONGEST:
            ground = self.grounds[purpose] = self.exits.enter_context(self._open())
        return ground

    @contextmanager
    def _open(self) -> Iterator[Ground]:
        with self.open_url() as url:
            make_keys(url)
            with open_service(open_engine(url)) as follower:
                yield Ground(url, self.new_folder(), follower, [World.new("w0"), World.new("w1")])

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{self.database}-", dir=self.folder))


@dataclass(frozen=True)
class Running:
    """A worker's process, and what is heard of it."""

    process: BaseProcess
    channel: Connection

    @classmethod
    def start(cls, target: Callable[..., None], *arguments: object) -> "Running":
        """Calls ``target`` with the arguments and a channel, in a new process; returns once it is ready."""
        ours, theirs = processes.Pipe()
        process = processes.Process(target=target, args=(*arguments, theirs), daemon=True)
        process.start()
        theirs.close()
        running = cls(process, ours)
        running.wait()
        return running

    def wait(self, messages: int = 1) -> bool:
        """Until it has said so much more; False where it ended before."""
        try:
            for _ in range(messages):
                if not self.channel.poll(PATIENCE):
                    return False
                self.channel.recv()
        except (EOFError, ConnectionResetError):
            return False
        return True

    def stop(self) -> None:
        """Lets it finish the request it is at."""
        with suppress(BrokenPipeError):  # it ended by itself
            self.channel.send("enough")
        self.end()

    def end(self) -> None:
        """Listens until the process has ended: a pipe that nobody reads would stop it."""
        while self.wait():
            pass
        self.process.kill()
        self.process.join()
        self.channel.close()


def elsewhere(function: Callable[..., Findings], *arguments: object) -> Findings:
    """Calls ``function`` in a new process."""
    with ProcessPoolExecutor(1, mp_context=processes) as pool:
        return pool.submit(function, *arguments).result()
