"""A run's curves as a picture: loss, active triplets and validation TAR over its steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from training.journal import Row

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
