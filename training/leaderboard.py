"""Trains every small backbone from nothing, with one recipe and one budget, and ranks them.

    python -m training.leaderboard --data aligned/ --output runs/leaderboard

A run that was stopped goes on; a finished backbone isn't trained again. The output gets a run's folder for each
backbone, leaderboard.md, leaderboard.json and figures/leaderboard.png.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facesvc.core.quantise import from_bytes, to_bytes
from facesvc.core.types import Vectors
from facesvc.errors import FaceServiceError
from facesvc.evaluation.intervals import TarAtFmr, identity_bootstrap
from facesvc.models.network import OnnxRuntimeNetwork
from training import augment
from training.aligned import AlignedSet
from training.backbones import REGISTRY
from training.config import TrainConfig
from training.entrants import SIDE, Entrant, configure, enter, reference
from training.latency import milliseconds
from training.sides import Sides
from training.standings import Standing, draw, table

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
