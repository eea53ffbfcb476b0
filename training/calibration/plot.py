"""A calibration as a picture: error rates against distance, with their intervals and the threshold."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facesvc.core.decide import Calibration

FMR_COLOUR, FNMR_COLOUR = "#c2410c", "#1d4ed8"
"""Orange and blue: told apart by every kind of colour vision."""
CAPTION = {"facecolor": "white", "alpha": 0.8, "linewidth": 0}


def draw(path: Path, curve: Calibration, threshold: float, title: str) -> None:
    """Writes the plot in the format that ``path`` ends with (PNG, SVG, PDF)."""
    figure = Figure(figsize=(9, 5.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    _rate(axes, curve, "fmr", FMR_COLOUR, "FMR: different people match")
    _rate(axes, curve, "fnmr", FNMR_COLOUR, "FNMR: one person doesn't match")
    axes.axvline(threshold, color="black", linewidth=1)
    axes.axhline(curve.smallest_fmr, color=FMR_COLOUR, linewidth=1, linestyle=":", label="lowest FMR to be claimed")
    beside = axes.get_xaxis_transform()  # x by distance, y as a share of the height
    axes.annotate(
        _caption(curve, threshold), (threshold, 0.03), xycoords=beside, xytext=(8, 0), textcoords="offset points",
        fontsize=9, bbox=CAPTION,
    )  # fmt: skip
    axes.set_xlim(0, _end(curve))
    axes.set_ylim(curve.smallest_fmr / 10, 1)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda rate, _: f"{100 * rate:g} %")
    axes.set_xlabel("threshold: squared L2 distance")
    axes.set_ylabel("error rate, with its 95 % interval over people")
    axes.set_title(f"{title}\n{curve.data}", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    figure.savefig(path)


def _rate(axes: Axes, curve: Calibration, name: str, colour: str, label: str) -> None:
    rate, low, high = (getattr(curve, name + end) for end in ("", "_low", "_high"))
    axes.plot(curve.distances, rate, color=colour, label=label)
    axes.fill_between(curve.distances, low, high, color=colour, alpha=0.2, linewidth=0)


def _caption(curve: Calibration, threshold: float) -> str:
    (fmr_low, fmr_high), (fnmr_low, fnmr_high) = curve.claimed_interval(threshold), curve.fnmr_interval(threshold)
    return (
        f"at {threshold:g}\nFMR {curve.claimed_fmr(threshold):.3%} ({fmr_low:.3%} to {fmr_high:.3%})\n"
        f"FNMR {curve.fnmr_at(threshold):.2%} ({fnmr_low:.2%} to {fnmr_high:.2%})"
    )


def _end(curve: Calibration) -> float:
    """The first distance from which nearly everyone matches; beyond it there is nothing to see."""
    return float(curve.distances[min(int(np.searchsorted(curve.fmr, 0.99)), len(curve.distances) - 1)])
