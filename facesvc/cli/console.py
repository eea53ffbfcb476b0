"""What commands print: answers on stdout (JSON, or tables for people), everything said about them on stderr.

Lengths of time as people write them: 30m, 12h, 90d.

A progress bar on stderr, with rate and time left, where stderr is a terminal.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from facesvc.errors import FaceServiceError, RequestError
from facesvc.files import replacing

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.progress import Progress, TaskID

    from facesvc.schemas.decisions import Quality


def say(message: str) -> None:
    """Print a message to the person at the terminal, on stderr."""
    sys.stderr.write(printable(message, keep="\n") + "\n")
    sys.stderr.flush()


def answer(text: str) -> None:
    """Print a line of the command's result."""
    sys.stdout.write(printable(text) + "\n")


def answer_json(value: Any) -> None:
    """Print the result, JSON values and shapes, as JSON: one line where a program reads it, indented where a person
    does."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent, default=json_value) + "\n")


def json_value(shape: "BaseModel") -> Any:
    """Return a shape of ``facesvc.schemas`` as JSON values; for the ``default`` of ``json.dumps``."""
    return shape.model_dump(mode="json")


def quality_text(quality: "Quality") -> str:
    """Return the quality of a face for a person: good, or the checks that it failed."""
    return "good" if quality.acceptable else ", ".join(quality.reasons)


def answer_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for a person; lines of tab-separated cells, without a head and uncut, for a pipe."""
    cells = ([printable("" if value is None else str(value)) for value in row] for row in rows)
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in cells)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in cells:
        table.add_row(*map(Text, row))  # Text: a name in [brackets] is no markup
    Console().print(table)


def printable(text: str, keep: str = "") -> str:
    """Return ``text`` with what would steer a terminal, or could not be written as UTF-8, as backslash escapes."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces ``path`` when everything is written; its owner alone may read it.

    Raises RequestError where the file can't be written.
    """
    try:
        with replacing(path) as stream:
            yield stream
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from error


UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Raises BadParameter (exit code 2)."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no length of time: give a number of minutes, hours or days (30m, 12h, 90d)"
        )
    return timedelta(**{UNITS[found[2]]: int(found[1])})


Advance = Callable[[], None]


@contextmanager
def progress(
    label: str, done: int = 0, count: Callable[[], int] | None = None, unit: str = "files"
) -> Iterator[Advance]:
    """Yields what is called once per file, or ``unit``. ``done``: files done by an earlier run; ``count`` tells how
    many there are in all, in its own thread, since counting millions of files takes a while."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with bar(unit) as shown:
        task = shown.add_task(label, total=None, completed=done)
        if count:
            Thread(target=tell_total, args=(shown, task, count), daemon=True).start()
        yield lambda: shown.advance(task)


def tell_total(shown: "Progress", task: "TaskID", count: Callable[[], int]) -> None:
    with suppress(FaceServiceError):  # the run itself meets the same error, and reports it
        shown.update(task, total=count())


def bar(unit: str) -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} {unit}/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    # results keep going to stdout: rich may take it over only where that is the same terminal
    console = Console(stderr=True)
    return Progress(*columns, *times, console=console, redirect_stdout=sys.stdout.isatty(), transient=True)


def confirm(question: str, yes: bool) -> None:
    """Asks at a terminal; a script has said what it wants by running the command with --yes. Aborts with exit
    code 1 where the answer is no."""
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("deleting needs --yes where nobody can be asked")
        typer.confirm(question, abort=True, err=True)
