"""The leaderboard's backbones, each trained once and exported."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from facesvc.errors import RequestError
from training.aligned import AlignedSet
from training.backbones import REGISTRY, build_backbone
from training.backbones.backbone import Backbone
from training.config import TrainConfig, load_config
from training.export import NETWORK, read_config, write_onnx
from training.loop import WEIGHTS, train

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
