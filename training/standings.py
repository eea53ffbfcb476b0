"""The leaderboard's rows as a Markdown table and as a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facesvc.core.types import DIMENSION
from facesvc.evaluation.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BYTES = (4 * DIMENSION, DIMENSION)
"""Of a template: float32, and int8 (``facesvc.core.quantise``)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One backbone. side: of its chips, px; milliseconds: of one face; tar: at FMR 1e-2 and 1e-3, on held-out people;
    quantised: at 1e-2 with int8 templates; untrained: at 1e-2 before training, None where weights were published;
    minutes: its training took."""

    backbone: str
    parameters: int
    side: int
    milliseconds: float
    tar: tuple[Interval, Interval]
    quantised: float
    untrained: float | None
    minutes: float | None

    @property
    def is_trained_here(self) -> bool:
        return self.untrained is not None


def table(standings: Sequence[Standing]) -> str:
    """Markdown, best TAR first, published weights last."""
    head = (
        "| Backbone | Parameters | Chip, px | CPU ms a face | TAR at FMR 1e-2, % | TAR at FMR 1e-3, % "
        "| int8 TAR at 1e-2, % | Untrained TAR at 1e-2, % | Bytes a template, float / int8 | Training, min |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    ordered = sorted(standings, key=lambda row: (not row.is_trained_here, -row.tar[0].value))
    return "\n".join([head, *(_line(row) for row in ordered)]) + "\n"


def _line(row: Standing) -> str:
    cells = (
        row.backbone if row.is_trained_here else f"{row.backbone}, published weights",
        f"{row.parameters / 1e6:.2f} M",
        str(row.side),
        f"{row.milliseconds:.1f}",
        *(f"{100 * tar.value:.1f} ({100 * tar.low:.1f} to {100 * tar.high:.1f})" for tar in row.tar),
        f"{100 * row.quantised:.1f}",
        "" if row.untrained is None else f"{100 * row.untrained:.1f}",
        f"{BYTES[0]} / {BYTES[1]}",
        "" if row.minutes is None else f"{row.minutes:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def draw(standings: Sequence[Standing], file: Path, caption: str) -> None:
    """PNG: TAR at FMR 1e-2 with its interval over milliseconds a face; a marker's area is its number of parameters.

    Published weights, far above what the budget can reach, are told beside the scale.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    trained = sorted((row for row in standings if row.is_trained_here), key=lambda row: row.milliseconds)
    for i, row in enumerate(trained):
        _point(axes, row, is_above=i % 2 == 0)  # neighbours' labels on different sides
    axes.scatter([], [], marker="x", s=20, color="tab:red", label="untrained")
    told = [
        f"{row.backbone}, published: {100 * row.tar[0].value:.1f} % at {row.milliseconds:.0f} ms"
        for row in standings
        if not row.is_trained_here
    ]
    axes.legend(loc="upper left", fontsize=8, title="\n".join(told) or None, title_fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("CPU milliseconds a face (one thread, ONNX Runtime, log scale)")
    axes.set_ylabel("TAR at FMR 1e-2 on held-out people, %")
    axes.set_title(caption, fontsize=9)
    axes.set_ylim(-2, 130 * max(row.tar[0].high for row in trained))
    axes.margins(x=0.1)
    axes.grid(alpha=0.3, which="both")
    figure.savefig(file)


def _point(axes: "Axes", row: Standing, is_above: bool) -> None:
    tar, x = row.tar[0], row.milliseconds
    axes.vlines(x, 100 * tar.low, 100 * tar.high, color="tab:blue", linewidth=1.5)
    axes.scatter([x], [100 * tar.value], s=20 + 30 * row.parameters / 1e6, color="tab:blue", alpha=0.5)
    if row.untrained is not None:
        axes.scatter([x], [100 * row.untrained], marker="x", s=20, color="tab:red", linewidths=1)
    axes.annotate(
        f"{row.backbone}\n{row.parameters / 1e6:.1f} M",
        (x, 100 * (tar.high if is_above else tar.low)),
        xytext=(0, 4 if is_above else -4),
        textcoords="offset points",
        ha="center",
        va="bottom" if is_above else "top",
        fontsize=8,
    )
