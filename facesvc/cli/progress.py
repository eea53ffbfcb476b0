"""A progress bar on stderr, with rate and time left, where stderr is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

from facesvc.errors import FaceServiceError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

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
