"""What a worker asked for and what it was answered, written so that its own death loses none of it."""

import json
import os
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.faults import requests  # noqa: F401  # it registers its activities
from drills.faults.activities import ACTIVITIES, Answer, Request
from drills.faults.world import World


class Journal:
    """One line, one write: what the kernel has taken survives the process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def asks(self, activity: str, request: Request) -> None:
        self._write({"asked": activity, "request": request})

    def answered(self, answer: Answer) -> None:
        self._write({"answered": answer})

    def failed(self, why: str) -> None:
        self._write({"failed": why})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


@dataclass
class History:
    """What a worker's journal amounts to.

    world: what was acknowledged; possible: the worlds that may be found, that one first, then with the request that
    was never answered; wrong: answers that were not true; failed: how the worker failed, if it did.
    """

    world: World
    possible: list[World] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failed: str | None = None
    acknowledged: int = 0
    in_flight: str | None = None

    def photographs(self) -> list[str]:
        """Names of all that may have been sent."""
        return [f"{self.world.owner} {n + 1}" for n in range(max(world.used for world in self.possible))]


def replay(path: Path, before: World) -> History:
    """The history that ``path`` tells of a worker that started with the world ``before``; without a file, that of
    one that did nothing."""
    history = History(deepcopy(before))
    asked: tuple[str, Request] | None = None
    for line in _lines(path):
        if "asked" in line:
            asked = line["asked"], line["request"]
        elif "answered" in line and asked:
            history.wrong += ACTIVITIES[asked[0]].apply(history.world, asked[1], line["answered"])
            history.acknowledged += 1
            asked = None
        elif "failed" in line:
            history.failed = line["failed"]
    history.possible = [history.world]
    if asked:
        history.in_flight = asked[0]
        done = deepcopy(history.world)
        ACTIVITIES[asked[0]].apply(done, asked[1], None)
        history.possible.append(done)
    return history


def _lines(path: Path) -> list[dict[str, Any]]:
    """A last line without an end was being written: it says nothing."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
