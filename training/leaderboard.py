"""Trains every small backbone from nothing, with one recipe and one budget, and ranks them.

    python -m training.leaderboard --data aligned/ --output runs/leaderboard

A run that was stopped goes on; a finished backbone isn't trained again. The output gets a run's folder for each
backbone, leaderboard.md, leaderboard.json and figures/leaderboard.png.

The leaderboard's backbones, each trained once and exported.

What a face costs on the CPU: one chip, one thread, ONNX Runtime.

The leaderboard's rows as a Markdown table and as a plot.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from facesvc.core.types import DIMENSION, Vectors
from facesvc.errors import FaceServiceError, RequestError
from facesvc.evaluation.intervals import Interval, TarAtFmr, identity_bootstrap
from facesvc.models.network import OnnxRuntimeNetwork
from training.aligned import AlignedSet
from training.backbones import REGISTRY, build_backbone
from training.backbones.backbone import Backbone
from training.config import TrainConfig, load_config
from training.data import augment
from training.export import NETWORK, read_config, write_onnx
from training.quantisation import from_bytes, to_bytes
from training.run.loop import WEIGHTS, train
from training.run.sides import Sides

SIDE = 32
"""Of the chips, px, where a backbone takes so few: what some minutes of a CPU can pay for."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """side: of its chips, px; network: its ONNX file; summary: of its training, None for published weights."""

    name: str
    side: int
    network: Path
    parameters: int
    summary: dict[str, Any] | None = None


def configure(recipe: str, overrides: Sequence[str], name: str) -> TrainConfig:
    """The recipe for one backbone. Raises RequestError for one that isn't trained from nothing."""
    entry = REGISTRY.get(name)
    if entry is None or entry.smallest is None:
        raise RequestError(f"{name} is no backbone that is trained from nothing")
    return load_config(recipe, [f"size={max(SIDE, entry.smallest)}", *overrides, f"backbone={name}"])


def enter(config: TrainConfig, data: AlignedSet, run: Path) -> Entrant | None:
    """The backbone with its training done, now or before; None where a signal stopped it.

    Raises RequestError where ``run`` was trained by another recipe; TrainingError.
    """
    summary = _finished(run, config)
    if summary is None:
        Console(stderr=True).print(f"{config.backbone}, {config.size} px")
        train(config, data, run, resume=True)
        summary = _finished(run, config)
    if summary is None:
        return None
    network = build_backbone(config.backbone, pretrained=run / WEIGHTS, size=config.size)
    return Entrant(config.backbone, network.input_size, _exported(network, run), summary["parameters"], summary)


def reference(name: str, folder: Path) -> Entrant:
    """A backbone with its published weights, as it is."""
    network = build_backbone(name)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Entrant(name, network.input_size, _exported(network, folder), parameters)


def _finished(run: Path, config: TrainConfig) -> dict[str, Any] | None:
    """The summary of a run that came to its end, None where there is none."""
    try:
        summary = json.loads((run / "summary.json").read_bytes())
    except FileNotFoundError:
        return None
    if read_config(run).identity() != config.identity():
        raise RequestError(f"{run} was trained by another recipe: remove it, or name another folder")
    return None if summary["ending"] == "interrupted" else summary


def _exported(network: Backbone, folder: Path) -> Path:
    """The network's ONNX file in the folder, written once and whole."""
    file = folder / NETWORK
    if not file.exists():
        draft = folder / f"draft-{NETWORK}"
        write_onnx(network.eval(), draft)
        draft.replace(file)
    return file


ROUNDS = 40
WARM_UP = 3


def milliseconds(files: Mapping[str, Path], sides: Mapping[str, int], rounds: int = ROUNDS) -> dict[str, float]:
    """Median time of one (1 3 s s) chip for each ONNX file; sides: s, px.

    The networks take turns, so that what else the machine does meets all of them alike.
    """
    networks = {name: OnnxRuntimeNetwork(file, threads=1) for name, file in files.items()}
    chips = {name: np.zeros((1, 3, side, side), np.float32) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(WARM_UP + rounds):
        for name, network in networks.items():
            began = time.perf_counter()
            network(chips[name])
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(taken[WARM_UP:])) for name, taken in times.items()}


if TYPE_CHECKING:
    from matplotlib.axes import Axes

BYTES = (4 * DIMENSION, DIMENSION)
"""Of a template: float32, and int8 (``training.quantisation``)."""


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


REFERENCE = "sface"
"""Measured with its published weights beside the trained ones."""
BLOCK = 64
"""Chips at once."""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        data = AlignedSet.load(asked.data)
        configs = [configure(asked.recipe, asked.set, name) for name in asked.backbones]
        entrants = list(takewhile(bool, (enter(config, data, asked.output / config.backbone) for config in configs)))
        if len(entrants) < len(configs):
            return 130  # a signal asked to stop; the next run goes on
        everyone = [*filter(None, entrants), reference(REFERENCE, asked.output / REFERENCE)]
        standings, text = measure(everyone, data, configs[0]), caption(everyone[0], configs[0])
    except FaceServiceError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 2
    publish(standings, text, asked.output)
    print(json.dumps([asdict(row) for row in standings]) if asked.json else table(standings))
    return 0


def measure(entrants: Sequence[Entrant], data: AlignedSet, config: TrainConfig) -> list[Standing]:
    """All entrants on the people that the recipe holds out, and the time that each takes."""
    files = {entrant.name: entrant.network for entrant in entrants}
    times = milliseconds(files, {entrant.name: entrant.side for entrant in entrants})
    held_out = Sides.of(data.subjects, config.validation).validation
    return [stand(entrant, data, held_out, times[entrant.name]) for entrant in entrants]


def stand(entrant: Entrant, data: AlignedSet, held_out: NDArray[np.int64], time: float) -> Standing:
    """held_out: (m,) rows of the set; time: milliseconds a face."""
    vectors, subjects = embed(entrant, data, held_out), data.subjects[held_out]
    rates = {"1e-2": TarAtFmr(1e-2), "1e-3": TarAtFmr(1e-3)}
    tars = identity_bootstrap(vectors, subjects, rates)
    quantised = identity_bootstrap(from_bytes(to_bytes(vectors)), subjects, {"1e-2": TarAtFmr(1e-2)}, resamples=1)
    summary = entrant.summary
    return Standing(
        entrant.name,
        entrant.parameters,
        entrant.side,
        time,
        (tars["1e-2"], tars["1e-3"]),
        quantised["1e-2"].value,
        None if summary is None else summary["untrained_tar"],
        None if summary is None else summary["seconds"] / 60,
    )


def embed(entrant: Entrant, data: AlignedSet, rows: NDArray[np.int64]) -> Vectors:
    """(len(rows) 128) float32, by the exported network, as the service would."""
    transform = augment.plain(entrant.side, data.margin)
    network = OnnxRuntimeNetwork(entrant.network)
    parts = []
    for start in range(0, len(rows), BLOCK):
        chips = torch.from_numpy(data.chips[rows[start : start + BLOCK]]).permute(0, 3, 1, 2)
        parts.append(network(transform(chips).numpy())[0])
    return np.concatenate(parts)


def caption(entrant: Entrant, config: TrainConfig) -> str:
    """What all entrants had in common. entrant: any that was trained."""
    told = entrant.summary or {}
    seen = config.total_steps * config.batch.identities * config.batch.photographs
    return (
        f"Triplet loss ({config.loss.rule}), {seen:,} photographs seen of {told['photographs']:,} of {told['people']} "
        f"people; measured on {told['validation_photographs']:,} of {told['validation_people']} others"
    )


def publish(standings: Sequence[Standing], caption: str, output: Path) -> None:
    """leaderboard.md, leaderboard.json and figures/leaderboard.png."""
    (output / "figures").mkdir(exist_ok=True)
    (output / "leaderboard.json").write_text(json.dumps([asdict(row) for row in standings], indent=2) + "\n", "utf-8")
    (output / "leaderboard.md").write_text(page(standings, caption), "utf-8")
    draw(standings, output / "figures" / "leaderboard.png", caption)


def page(standings: Sequence[Standing], caption: str) -> str:
    return f"""# Leaderboard of backbones

Every backbone trained from nothing, with one recipe and one budget, by `python -m training.leaderboard`
(`training/recipes/leaderboard.toml`).
{caption}.

{table(standings)}
![TAR over time a face](figures/leaderboard.png)

- TAR: share of the comparisons of one person below the threshold at which the false match rate is 1e-2 or 1e-3, over
  all pairs; in brackets its 95 % interval, people drawn with replacement.
- Untrained: the same for the random weights that training began with. Networks with batch normalisation then give
  nearly one vector for every face: their statistics are not yet those of faces.
- CPU ms a face: median of single chips, one thread, ONNX Runtime; the networks take turns.
- Chip: {SIDE} px, or the least that the backbone takes.
- The budget is small: this ranks what is learnt quickly from few people, not what the networks can reach. Where
  intervals overlap there is no ranking. The last row tells the distance to weights trained on millions of photographs.
"""


def _parser() -> argparse.ArgumentParser:
    small = [name for name, entry in REGISTRY.items() if not entry.published]
    parser = argparse.ArgumentParser(
        prog="python -m training.leaderboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that python -m training.aligned wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs and their ranking")
    parser.add_argument("--recipe", default="leaderboard", help="a TOML file, or a recipe's name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. epochs=2")
    parser.add_argument("--backbones", nargs="+", default=small, choices=small, help="default: all")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
