"""The trainer on made-up people: it learns, and stopping, resuming and sharing the work change nothing.

A person here is a pattern of colours, a photograph of it the pattern in another light with noise.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from facesvc.errors import RequestError
from training.aligned import AlignedSet
from training.backbones.backbone import Backbone
from training.config import TrainConfig
from training.errors import CheckpointUnusable, TrainingCollapsed
from training.run.journal import Row, read
from training.run.loop import train

pytestmark = pytest.mark.xdist_group("trainer")  # one worker: it trains once

SIDE, PEOPLE, PHOTOGRAPHS = 32, 24, 6
RECIPE: dict[str, Any] = {
    "backbone": "lenet",
    "size": SIDE,
    "epochs": 3,
    "threads": 1,
    "device": "cpu",
    "batch": {"identities": 8, "photographs": 3, "steps": 7},
    "optimiser": {"rate": 3e-3, "ema": 0.9},
    "validation": {"share": 0.4},
    "augmentation": {"flip": 0.0, "colour": 0.3, "grey": 0.0},
}


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(RECIPE | changes)


def people(count: int = PEOPLE) -> AlignedSet:
    random = np.random.default_rng(5)
    patterns = random.normal(0, 25, (count, 1, 4, 4, 3)).repeat(8, axis=2).repeat(8, axis=3)
    light = random.normal(0, 25, (count, PHOTOGRAPHS, 1, 1, 3))
    noise = random.normal(0, 40, (count, PHOTOGRAPHS, SIDE, SIDE, 3))
    chips = (patterns + light + noise + 127).clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    names = [f"p{i:02}" for i in range(count)]
    files = [f"{name}/{k}.jpg" for name in names for k in range(PHOTOGRAPHS)]
    return AlignedSet(chips, np.repeat(names, PHOTOGRAPHS), files, {}, {"size": SIDE, "margin": 0.0})


def small() -> Backbone:
    """With batch norm and dropout: both must come back as they were. (No bias before batch norm: its gradient is
    rounding alone, which Adam would blow up to full steps.)"""
    torch.manual_seed(11)
    body = nn.Sequential(
        *(nn.Conv2d(3, 16, 5, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(3)),
        *(nn.Flatten(), nn.Dropout(0.1), nn.Linear(32 * 9, 128)),
    )
    return Backbone(body, SIDE)


def timeless(rows: list[Row]) -> list[Row]:
    return [replace(row, images_per_second=None) for row in rows]


def weights(run: Path) -> dict[str, bytes]:
    """Every tensor of the checkpoint and of the best weights, to the bit."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    tensors = {f"best {name}": value for name, value in load_file(run / "best.safetensors").items()}
    for part in ("network", "ema"):
        tensors |= {f"{part} {name}": value for name, value in state[part].items()}
    for number, values in state["optimiser"]["state"].items():
        tensors |= {f"optimiser {number} {name}": value for name, value in values.items()}
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(config(), people(), run, network=small())
    return run


@pytest.mark.slow
def test_it_learns_to_tell_people_apart_that_it_never_saw(tmp_path: Path) -> None:
    longer = {"identities": 12, "photographs": 3, "steps": 20}
    summary = train(config(batch=longer), people(90), tmp_path, network=small())
    rows = read(tmp_path / "metrics.csv")
    tars = [row.tar for row in rows if row.tar is not None]
    assert (summary.untrained_tar, summary.best_tar) == (tars[0], max(tars[1:]))
    assert max(tars[1:]) > 2 * tars[0] + 0.1
    assert summary.best_interval is not None
    assert summary.best_interval[0] < max(tars[1:]) < summary.best_interval[1]
    assert rows[-1].rate is not None
    assert rows[-1].rate < 3e-3 / 20, "the cosine has fallen"


def test_the_record_of_a_run(whole: Path) -> None:
    rows = read(whole / "metrics.csv")
    assert [row.step for row in rows] == list(range(22))
    assert [row.step for row in rows if row.tar is not None] == [0, 7, 14, 21]
    assert TrainConfig.model_validate_json((whole / "config.json").read_bytes()) == config()
    judged = torch.load(whole / "checkpoint.pt", weights_only=True)["ema"]
    summary = json.loads((whole / "summary.json").read_text())
    assert (summary["people"], summary["validation_people"]) == (15, 9)
    assert summary["best_tar"] == max(row.tar for row in rows[1:] if row.tar is not None)
    if summary["best_step"] == 21:
        assert load_file(whole / "best.safetensors")["body.0.weight"].equal(judged["module.body.0.weight"])


class Stop:
    """A hook of the network; in the given step it sends this process a SIGTERM, as a scheduler would."""

    def __init__(self, step: int) -> None:
        self.steps, self.step = 0, step

    def __call__(self, network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if network.training:
            self.steps += 1
            if self.steps == self.step:
                os.kill(os.getpid(), signal.SIGTERM)

    def __deepcopy__(self, memo: object) -> "Stop":
        return self  # the averaged copy of the network is never in training


def stop(step: int, run: Path) -> None:
    stopping = small()
    stopping.register_forward_pre_hook(Stop(step))
    train(config(), people(), run, network=stopping)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Runs by the step in which they were terminated: the first, in the middle of an epoch, at its end. They are
    another process's: a signal too many would be the end of all tests."""
    runs = {step: tmp_path_factory.mktemp("runs") / f"stopped-{step}" for step in (1, 10, 14)}
    command = [sys.executable, "-m", "tests.training.test_trainer", *(f"{step}:{run}" for step, run in runs.items())]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done
    return runs


@pytest.mark.slow
@pytest.mark.xdist_group("stopped runs")
@pytest.mark.parametrize("step", [1, 10, 14], ids=["first step", "middle of an epoch", "end of an epoch"])
def test_a_run_that_is_terminated_and_resumed_gives_the_same_bits(
    step: int, whole: Path, stopped: dict[int, Path]
) -> None:
    run = stopped[step]
    told = json.loads((run / "summary.json").read_text())
    assert (told["ending"], told["steps"], told["signal"]) == ("interrupted", step, signal.SIGTERM)
    summary = train(config(), people(), run, resume=True, network=small())
    assert (summary.ending, summary.steps) == ("finished", 21)
    assert timeless(read(run / "metrics.csv")) == timeless(read(whole / "metrics.csv"))
    assert weights(run) == weights(whole)


def test_worker_processes_change_nothing(whole: Path, tmp_path: Path) -> None:
    train(config(workers=2), people(), tmp_path, network=small())
    assert timeless(read(tmp_path / "metrics.csv")) == timeless(read(whole / "metrics.csv"))


def test_going_on_with_something_else_is_refused(whole: Path) -> None:
    with pytest.raises(RequestError, match="holds a run already"):
        train(config(), people(), whole, network=small())
    with pytest.raises(CheckpointUnusable, match="another config"):
        train(config(seed=1), people(), whole, resume=True, network=small())
    fewer = people()
    fewer.files[0] = "p00/other.jpg"
    with pytest.raises(CheckpointUnusable, match="another data set"):
        train(config(), fewer, whole, resume=True, network=small())
    with pytest.raises(CheckpointUnusable, match="another network"):
        train(config(), people(), whole, resume=True)


def test_it_stops_early_where_the_tar_no_longer_grows(tmp_path: Path) -> None:
    still = config(epochs=9, optimiser={"rate": 1e-12, "ema": None}, validation={"share": 0.4, "patience": 2})
    summary = train(still, people(), tmp_path)
    assert (summary.ending, summary.steps, summary.best_step) == ("early", 3 * 7, 7)
    assert summary.best_tar == summary.untrained_tar


def test_a_collapse_is_explained(tmp_path: Path) -> None:
    settings = config(loss={"rule": "hard", "collapse_steps": 3}, optimiser={"rate": 1e-12, "ema": None})
    constant = small()
    with torch.no_grad():
        constant.body[-1].weight.zero_()  # type: ignore[index, union-attr]
    with pytest.raises(TrainingCollapsed, match="lower rate or longer warm-up"):
        train(settings, people(), tmp_path, network=constant)


def test_a_teacher_is_approached(tmp_path: Path) -> None:
    data = people()
    vectors = np.random.default_rng(1).normal(size=(PEOPLE, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "teacher.npy", vectors[data.labels])
    taught = {"templates": tmp_path / "teacher.npy", "triplet": 0.0}
    train(config(distillation=taught, epochs=6), data, tmp_path / "run", network=small())
    distances = [row.distillation for row in read(tmp_path / "run" / "metrics.csv") if row.distillation is not None]
    assert distances[0] == pytest.approx(2.0, abs=0.1), "unrelated unit vectors"
    assert distances[-1] < 1.0


@pytest.mark.parametrize(
    ("templates", "told"),
    [
        (np.ones((3, 128), np.float32), r"float32 \(3, 128\), wanted float32 \(144, 128\)"),
        (np.ones((144, 128), np.float32), "unit length"),
        (np.array([{}], object), "can't be read"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(templates: Any, told: str, tmp_path: Path) -> None:
    np.save(tmp_path / "teacher.npy", templates)
    with pytest.raises(RequestError, match=told):
        train(config(distillation={"templates": tmp_path / "teacher.npy"}), people(), tmp_path / "run", network=small())


def test_too_few_people_for_a_batch(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="too few for 30 a batch"):
        train(config(batch={"identities": 30}), people(), tmp_path, network=small())


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        number, folder = argument.split(":", 1)
        stop(int(number), Path(folder))
