"""A run's record: metrics.csv (a row a step), TensorBoard's event files, curves.png."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from training.curves import draw


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
    part = file.with_name(f"{file.name}.part")
    with part.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        writer.writerows(asdict(row).values() for row in rows)
    part.replace(file)


def _rows(lines: Iterable[dict[str, str | None]]) -> Iterable[Row]:
    for line in lines:
        if all(value is not None for value in line.values()):
            yield Row(**{name: _number(name, text) for name, text in line.items() if text})


def _number(name: str, text: str) -> Any:
    return int(text) if name in _INTEGERS else float(text)
