"""The report of an experiment: report.html (one file, nothing from outside), report.json and scores.csv.

Thumbnails for a report, as data URIs: the aligned face, or the whole photograph where none was found.

The report's figures, as inline SVG whose colours follow the page's (light or dark).
"""

import base64
import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facesvc.core import metrics
from facesvc.core.types import Pixels
from facesvc.errors import FaceServiceError
from facesvc.evaluation.comparisons import Distances
from facesvc.evaluation.datasets import Templates
from facesvc.evaluation.experiments import Experiment, names
from facesvc.pipeline.align import align
from facesvc.pipeline.decode import DecodeLimits, decode

SIZE = 96
"""Side of a thumbnail, px."""
FACE = np.array([[33, 38], [63, 38], [48, 56], [36, 73], [60, 73]], np.float32)
"""Where the landmarks lie in it: looser than any embedder's chip, so that a person can tell the person."""
QUALITY = 78


def thumbnails(templates: Templates, places: Iterable[int], limits: DecodeLimits) -> dict[int, str]:
    """A JPEG data URI for each place in the files that can be decoded at all."""
    drawn = {
        place: _thumbnail(templates.folder / templates.files[place], templates.landmarks[place], limits)
        for place in sorted(set(places))
    }
    return {place: uri for place, uri in drawn.items() if uri}


def _thumbnail(file: Path, landmarks: NDArray[np.float32], limits: DecodeLimits) -> str | None:
    try:
        image = decode(file.read_bytes(), limits)
        points = landmarks * image.scale  # from the photograph as sent to the pixels as decoded
        chip = align(image.pixels, points, FACE, SIZE) if np.isfinite(points).all() else _shrunk(image.pixels)
    except (FaceServiceError, OSError):
        return None
    _, content = cv2.imencode(".jpg", chip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"


def _shrunk(pixels: Pixels) -> Pixels:
    """The whole photograph, its longer side at most SIZE."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, LINE, MATED, NON_MATED, MARK = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "--soft", LINE: "--line", MATED: "--mated", NON_MATED: "--stranger", MARK: "--accent"}
"""Stand-in colours that are drawn with, and the page's variables that replace them."""
DET_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.4)
FEWEST = 1e-6
"""Lowest rate that an axis shows."""


def draw(name: str, title: str, paint: Callable[["Axes"], None], height: float = 3.7) -> str:
    """An SVG element. name: unique in the page, since it prefixes all ids; title: what a screen reader says."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10, "text.color": INK, "axes.edgecolor": LINE,
        "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
        "axes.spines.right": False, "grid.color": LINE, "axes.grid": True, "grid.linewidth": 0.6,
        "legend.frameon": False, "axes.axisbelow": True, "text.parse_math": False,
    }  # fmt: skip
    stream = StringIO()
    with rc_context(style):
        figure = Figure(figsize=(5.2, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _inline(stream.getvalue(), name, title)


def _inline(svg: str, name: str, title: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)  # the family is the page's
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{title}">{rest}'


def probit(rates: Any) -> NDArray[np.float64]:
    """Normal deviates of rates (k,), as DET axes have them (Martin et al. 1997); rates within 1e-6..1-1e-6."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(float(rate)) for rate in np.clip(rates, FEWEST, 1 - FEWEST)])


def curve(mated: Distances, non_mated: Distances) -> tuple[Distances, Distances]:
    """FMR and FNMR, (k,) each, along thresholds that are dense where either rate is small."""
    low = np.quantile(non_mated, np.geomspace(1 / len(non_mated), 1, 200), method="inverted_cdf")
    even = np.quantile(np.concatenate([mated, non_mated]), np.linspace(0, 1, 200), method="inverted_cdf")
    high = np.quantile(mated, 1 - np.geomspace(1 / len(mated), 1, 200), method="inverted_cdf")
    thresholds = np.unique(np.concatenate([low, even, high, np.nextafter([*low, *high], np.inf)]))
    return metrics.error_curve(mated, non_mated, thresholds)


def det(mated: Distances, non_mated: Distances, threshold: float, labels: tuple[str, str]) -> str:
    """Detection error trade-off, both axes in normal deviates, with the threshold's point."""
    false_match, false_non_match = curve(mated, non_mated)
    seen = (false_match > 0) & (false_non_match > 0)
    at = metrics.error_curve(mated, non_mated, np.array([threshold]))

    def paint(axes: "Axes") -> None:
        axes.plot(probit(false_match[seen]), probit(false_non_match[seen]), color=MATED)
        if not seen.any():
            axes.text(0.5, 0.5, "no threshold has both errors", transform=axes.transAxes, ha="center")
        axes.plot(*map(probit, _visible(at)), "o", color=MARK, clip_on=False, label=f"threshold {threshold:g}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(probit(DET_TICKS).tolist(), [f"{tick:g}" for tick in DET_TICKS])
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=probit([5e-5, 0.5]), ylim=probit([5e-5, 0.5]))
        axes.legend(loc="upper right")

    return draw("det", f"Detection error trade-off: {labels[1]} against {labels[0]}", paint)


def _visible(rates: Sequence[Distances]) -> list[Distances]:
    return [np.maximum(rate, 5.5e-5) for rate in rates]


def roc(mated: Distances, non_mated: Distances, threshold: float, labels: tuple[str, str]) -> str:
    """Share of mated comparisons accepted, over the logarithm of the share of non-mated ones, with the threshold."""
    false_match, false_non_match = curve(mated, non_mated)
    least = max(FEWEST, 0.5 / len(non_mated))
    at = metrics.error_curve(mated, non_mated, np.array([threshold]))

    def paint(axes: "Axes") -> None:
        seen = false_match > 0
        axes.plot(false_match[seen], 1 - false_non_match[seen], color=MATED, drawstyle="steps-post")
        axes.plot(np.maximum(at[0], least), 1 - at[1], "o", color=MARK, clip_on=False, label=f"threshold {threshold:g}")
        lowest = float((1 - false_non_match)[false_match <= 0.01].max(initial=0))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set(xlim=(least, 1), ylim=(min(0.9, max(0, lowest - 0.1)), 1.003))
        axes.set(xlabel=f"{labels[0]} (logarithmic)", ylabel=f"1 - {labels[1]}")
        axes.legend(loc="lower right")

    return draw("roc", f"ROC: 1 - {labels[1]} against {labels[0]}, logarithmic", paint)


def histogram(mated: Distances, non_mated: Distances, threshold: float) -> str:
    """Densities of both kinds of distances with the threshold; what failed to enrol (infinite) is left out."""
    finite = [values[np.isfinite(values)] for values in (mated, non_mated)]
    highest = max([float(values.max(initial=0)) for values in finite] + [threshold * 1.1])

    def paint(axes: "Axes") -> None:
        bins = np.linspace(0, highest, 81)
        for values, colour, label in zip(finite, (MATED, NON_MATED), ("mated", "non-mated"), strict=True):
            density = np.histogram(values, bins)[0] / max(1, len(values)) / (bins[1] - bins[0])
            axes.stairs(density, bins, fill=True, color=colour, alpha=0.45, label=label)
            axes.stairs(density, bins, color=colour)
        axes.axvline(threshold, color=MARK, linestyle="--", label=f"threshold {threshold:g}")
        axes.set(xlabel="distance (squared L2)", ylabel="density", xlim=(0, highest))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)

    return draw("histogram", f"Distances of mated and non-mated comparisons, threshold at {threshold:g}", paint)


def cmc(shares: Sequence[float], intervals: Sequence[Sequence[float]]) -> str:
    """Cumulative match characteristic: share of mated searches with their subject among the first k."""
    ranks = np.arange(1, len(shares) + 1)

    def paint(axes: "Axes") -> None:
        low, high = np.array(intervals).T
        axes.fill_between(ranks, low, high, color=MATED, alpha=0.2, linewidth=0, label="95 % interval")
        axes.plot(ranks, shares, "o-", color=MATED, label="found at this rank or before")
        axes.set(xlabel="rank", ylabel="share of mated searches", ylim=(max(0, low.min() - 0.02), 1.003), xticks=ranks)
        axes.legend(loc="lower right")

    return draw("cmc", "Cumulative match characteristic, ranks 1 to 10", paint)


def groups(name: str, rows: Sequence[Mapping[str, Any]], rate: str) -> str:
    """One rate of every group with its interval."""
    known = [row for row in rows if row[rate] is not None]

    def paint(axes: "Axes") -> None:
        places = np.arange(len(known))[::-1]
        values = np.array([row[rate] for row in known])
        low, high = np.array([row[f"{rate}_interval"] for row in known]).reshape(-1, 2).T
        reach = np.maximum([values - low, high - values], 0)
        axes.errorbar(values * 100, places, xerr=reach * 100, fmt="o", color=MATED, capsize=3)
        axes.set_yticks(places, [f"{row['group']} ({row['subjects']})" for row in known])
        axes.set(xlabel=f"{rate.upper()}, %", ylim=(-0.6, len(known) - 0.4))

    plain = re.sub(r"\W+", "-", name)
    return draw(
        f"group-{plain}-{rate}", f"{rate.upper()} by {plain} with 95 % intervals", paint, 0.9 + 0.4 * max(len(known), 1)
    )


TEMPLATE = "report.html.j2"


def complete(contract: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """All figures of report.json: what was measured with what, today, and the experiment's own."""
    date = datetime.now(UTC).date().isoformat()
    content = {**contract, "date": date, "experiment": experiment.kind, **experiment.figures}
    return {**content, "groups": list(experiment.groups)} if experiment.groups else content


def write(
    folder: Path,
    figures: Mapping[str, Any],
    experiment: Experiment,
    templates: Templates,
    limits: DecodeLimits | None = None,
) -> Path:
    """Writes the three files and returns the HTML's path. figures: the contract and the experiment's own figures.

    limits: for decoding the photographs that are shown; None leaves pictures out, since they are personal data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {**figures, "hardest": names(experiment.hard, templates.files)}
    (folder / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    with (folder / "scores.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(experiment.columns)
        rows.writerows(experiment.rows)
    page = folder / "report.html"
    page.write_text(render(figures, experiment, templates, limits), encoding="utf-8")
    return page


def render(
    figures: Mapping[str, Any], experiment: Experiment, templates: Templates, limits: DecodeLimits | None
) -> str:
    """The page, as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("facesvc.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval}
    places = [place for case in experiment.hard for place in (case.first, case.second)]
    return environment.get_template(TEMPLATE).render(
        figures=figures,
        experiment=experiment,
        files=[file.as_posix() for file in templates.files],
        pictures=thumbnails(templates, places, limits) if limits else {},
        plots=draw_all(figures, experiment),
    )


def draw_all(figures: Mapping[str, Any], experiment: Experiment) -> dict[str, str]:
    """The figures of this kind of experiment, by name."""
    threshold = figures["at_threshold"]["threshold"]
    mated, non_mated, labels = experiment.mated, experiment.non_mated, experiment.labels
    drawn = {"histogram": histogram(mated, non_mated, threshold)}
    if len(mated) and len(non_mated):
        drawn["det"] = det(mated, non_mated, threshold, labels)
        drawn["roc"] = roc(mated, non_mated, threshold, labels)
    if experiment.kind == "gallery":
        drawn["cmc"] = cmc(figures["cmc"], figures["cmc_interval"])
    for grouping in experiment.groups:
        for rate in ("fmr", "fnmr"):
            drawn[f"{grouping['name']}/{rate}"] = groups(grouping["name"], grouping["groups"], rate)
    return drawn


def percent(rate: float | None) -> str:
    """0.99533 -> "99.53 %", with more digits near 0; "unknown" for None."""
    if rate is None:
        return "unknown"
    share = 100 * rate
    return f"{share:.2f} %" if share == 0 or share >= 0.1 else f"{share:.2g} %"


def interval(bounds: tuple[float, float] | list[float]) -> str:
    """(0.0219, 0.0388) -> "2.19 % to 3.88 %"."""
    return f"{percent(bounds[0])} to {percent(bounds[1])}"
