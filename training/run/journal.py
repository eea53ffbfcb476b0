"""Shows a run on stderr: a progress bar on a terminal, a line per validation elsewhere.

A run's curves as a picture: loss, active triplets and validation TAR over its steps.

A run's record: metrics.csv (a row a step), TensorBoard's event files, curves.png.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from facesvc.files import SHARED, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = NDArray[np.float64]
SMOOTHING = 0.02
"""Share of the run over which the bold line averages."""


def draw(rows: Sequence["Row"], file: Path) -> None:
    """Three plots below one another, PNG. Nothing is drawn before there are two steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if sum(row.loss is not None for row in rows) < 2:
        return
    figure = Figure(figsize=(8, 8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    loss, active, tar = figure.subplots(3, 1, sharex=True)
    _line(loss, rows, "loss", "triplet loss", "tab:red")
    _line(active, rows, "active", "active triplets", "tab:blue")
    active.set_ylim(0, 1)
    _points(tar, rows)
    tar.set_xlabel("step")
    figure.savefig(file)


def _series(rows: Sequence["Row"], name: str) -> tuple[Series, Series]:
    found = [(row.step, getattr(row, name)) for row in rows if getattr(row, name) is not None]
    steps, values = np.array(found, np.float64).reshape(-1, 2).T
    return steps, values


def _line(axes: "Axes", rows: Sequence["Row"], name: str, label: str, colour: str) -> None:
    steps, values = _series(rows, name)
    width = max(int(len(values) * SMOOTHING), 1)
    totals = np.cumsum(np.insert(values, 0, 0.0))
    smooth = (totals[width:] - totals[:-width]) / width
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
    axes.plot(steps[width - 1 :], smooth, color=colour, linewidth=1.8)
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)


def _points(axes: "Axes", rows: Sequence["Row"]) -> None:
    steps, values = _series(rows, "tar")
    axes.plot(steps, values, color="tab:green", marker="o", markersize=3)
    if len(values):
        best = int(np.argmax(values))
        at, place = (steps[best], values[best]), {"xytext": (0, 6), "textcoords": "offset points", "ha": "right"}
        axes.annotate(f"{values[best]:.3f}", at, **place)
        axes.set_ylim(0, min(1.0, 1.25 * values[best] + 0.01))
    axes.set_ylabel("TAR, held-out people")
    axes.grid(alpha=0.3)


@dataclass(frozen=True, slots=True)
class Row:
    """step: steps done, from 1 (0: the untrained network); epoch: of the step, from 0. loss: triplet loss;
    distillation: mean squared distance from the teacher; active, triplets, spread: see
    ``training.losses.TripletResult``; rate: learning rate of the step; tar: of the validation after the
    step, where there was one."""

    step: int
    epoch: int
    loss: float | None = None
    distillation: float | None = None
    active: float | None = None
    triplets: int | None = None
    spread: float | None = None
    rate: float | None = None
    images_per_second: float | None = None
    tar: float | None = None


COLUMNS = tuple(field.name for field in fields(Row))
_INTEGERS = frozenset(("step", "epoch", "triplets"))


class Journal:
    """Appends rows. ``done``: steps of an earlier run to keep; what it wrote later, before it was cut off, goes."""

    def __init__(self, folder: Path, done: int | None = None) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.folder = folder
        file = folder / "metrics.csv"
        _rewrite(file, [row for row in read(file) if row.step <= done] if done is not None else [])
        self.file = file.open("a", newline="", encoding="utf-8")
        self.writer = csv.writer(self.file)
        self.board: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=0 if done is None else done + 1)

    def write(self, row: Row) -> None:
        values = asdict(row)
        self.writer.writerow(values.values())
        for name, value in values.items():
            if value is not None and name not in ("step", "epoch"):
                self.board.add_scalar(name, value, row.step)

    def flush(self) -> None:
        """Makes the rows so far last: called before each checkpoint."""
        self.file.flush()
        self.board.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self.board.close()
        draw(read(self.folder / "metrics.csv"), self.folder / "curves.png")


def read(file: Path) -> list[Row]:
    """The rows of a metrics.csv; a last line that was cut off is passed over; none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(_rows(csv.DictReader(lines)))


def _rewrite(file: Path, rows: Iterable[Row]) -> None:
    lines = StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(COLUMNS)
    writer.writerows(asdict(row).values() for row in rows)
    write_whole(file, lines.getvalue().encode(), SHARED)


def _rows(lines: Iterable[dict[str, str | None]]) -> Iterable[Row]:
    for line in lines:
        if all(value is not None for value in line.values()):
            yield Row(**{name: _number(name, text) for name, text in line.items() if text})


def _number(name: str, text: str) -> Any:
    return int(text) if name in _INTEGERS else float(text)


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
