"""When a worker dies: at any time, or at a point that a clock would hardly ever hit. Always by SIGKILL."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

ANY_TIME, BEFORE_STATEMENT, BEFORE_COMMIT, AFTER_COMMIT, WITHIN_STATEMENT, WITHIN_SNAPSHOT = (
    "any time",
    "before a statement",
    "before a commit",
    "between commit and answer",
    "within a statement",
    "within a snapshot",
)
LONGEST_SECONDS = 0.6
"""A worker does about a hundred things a second."""
OCCASIONS = {BEFORE_STATEMENT: 120, BEFORE_COMMIT: 24, AFTER_COMMIT: 24, WITHIN_STATEMENT: 2_000, WITHIN_SNAPSHOT: 60}
"""The n-th of which may be the last: the range from which n is drawn."""
INSTRUCTIONS = 8
"""Of SQLite's machine, between two occasions within a statement."""


@dataclass(frozen=True)
class Moment:
    """seconds: of ANY_TIME, after the worker began; occasion: of the others, counted from one."""

    name: str
    seconds: float = 0.0
    occasion: int = 0

    @classmethod
    def draw(cls, chance: Random, database: str) -> "Moment":
        named = [name for name in OCCASIONS if name != WITHIN_STATEMENT or database == "sqlite"]
        name = chance.choice([ANY_TIME, ANY_TIME, *named])
        if name == ANY_TIME:
            return cls(name, seconds=chance.uniform(0, LONGEST_SECONDS))
        return cls(name, occasion=chance.randint(1, OCCASIONS[name]))


def arm(moment: Moment, engine: Engine) -> None:
    """Kills this process when the moment comes; ANY_TIME is left to whoever watches it."""
    if moment.name in WATCHES:
        WATCHES[moment.name](engine, countdown(moment.occasion))


def countdown(occasion: int) -> Callable[[], None]:
    """What kills this process when it is called for the n-th time."""
    left = occasion

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def _statements(engine: Engine, count: Callable[[], None]) -> None:
    event.listen(engine, "before_cursor_execute", lambda *_: count())


def _commits(engine: Engine, count: Callable[[], None]) -> None:
    event.listen(engine, "commit", lambda _: count())


def _committed(engine: Engine, count: Callable[[], None]) -> None:
    event.listen(Session, "after_commit", lambda _: count())


def _instructions(engine: Engine, count: Callable[[], None]) -> None:
    def watch(connection: Any, _record: object) -> None:
        connection.set_progress_handler(lambda: count() or 0, INSTRUCTIONS)

    event.listen(engine, "connect", watch)
    engine.dispose()  # connections that are open already would go unwatched


def _files(engine: Engine, count: Callable[[], None]) -> None:
    """Before each file of a snapshot is opened, renamed or removed."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove") and "snapshots/" in str(arguments[0]):
            count()

    sys.addaudithook(watch)


WATCHES: dict[str, Callable[[Engine, Callable[[], None]], None]] = {
    BEFORE_STATEMENT: _statements,
    BEFORE_COMMIT: _commits,
    AFTER_COMMIT: _committed,
    WITHIN_STATEMENT: _instructions,
    WITHIN_SNAPSHOT: _files,
}
