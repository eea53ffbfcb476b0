"""Shows a run on stderr: a progress bar on a terminal, a line per validation elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.journal import Row

Show = Callable[[Row], None]


@contextmanager
def display(total: int, done: int = 0) -> Iterator[Show]:
    """Yields what is told each row; total, done: steps."""
    if not sys.stderr.isatty():
        yield _print
        return
    with _bar() as bar:
        task = bar.add_task("training", total=total, completed=done, figures="", tar="")

        def show(row: Row) -> None:
            bar.update(task, completed=row.step, figures=_figures(row))
            if row.tar is not None:
                bar.update(task, tar=f"TAR {row.tar:.3f}")

        yield show


def _print(row: Row) -> None:
    if row.tar is not None:
        print(f"step {row.step}  {_figures(row)}  TAR {row.tar:.4f}", file=sys.stderr, flush=True)


def _figures(row: Row) -> str:
    if row.loss is None or row.active is None:
        return "untrained"
    return f"{row.images_per_second or 0:.0f} images/s  loss {row.loss:.3f}  active {row.active:.0%}"


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    figures = (TextColumn("{task.fields[figures]}"), TextColumn("{task.fields[tar]}"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, *figures, *times, console=Console(stderr=True), transient=True)
