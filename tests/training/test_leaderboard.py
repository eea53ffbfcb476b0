"""The leaderboard: its table by value, and its command on made-up people, stopped nowhere and run twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from facesvc.errors import RequestError
from facesvc.evaluation.intervals import Interval
from training import leaderboard
from training.aligned import AlignedSet
from training.backbones import build_backbone
from training.export import write_onnx
from training.leaderboard import Standing, configure, draw, enter, table

SIDE, PEOPLE, PHOTOGRAPHS = 64, 24, 6
RECIPE = ["epochs=1", "batch.identities=6", "batch.photographs=2", "batch.steps=2", "validation.share=0.4"]


def made_up() -> AlignedSet:
    """People as patterns of colour, their photographs as the patterns with noise."""
    random = np.random.default_rng(5)
    patterns = random.normal(0, 40, (PEOPLE, 1, 4, 4, 3)).repeat(16, axis=2).repeat(16, axis=3)
    noise = random.normal(0, 20, (PEOPLE, PHOTOGRAPHS, SIDE, SIDE, 3))
    chips = (patterns + noise + 127).clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    people = [f"p{i:02}" for i in range(PEOPLE)]
    files = [f"{name}/{k}.jpg" for name in people for k in range(PHOTOGRAPHS)]
    return AlignedSet(chips, np.repeat(people, PHOTOGRAPHS), files, {}, {"size": SIDE, "margin": 0.0})


def standing(name: str, tar: float, **changes: Any) -> Standing:
    values: dict[str, Any] = {
        "parameters": 1_234_000,
        "side": 64,
        "milliseconds": 2.345,
        "tar": (Interval(tar, tar - 0.1, tar + 0.1), Interval(0.1, 0.05, 0.15)),
        "quantised": tar - 0.01,
        "untrained": 0.05,
        "minutes": 3.21,
    }
    return Standing(name, **(values | changes))


def test_the_table_ranks_by_tar_and_keeps_published_weights_apart() -> None:
    rows = [
        standing("second", 0.4),
        standing("first", 0.6),
        standing("published", 0.99, untrained=None, minutes=None, parameters=9_600_000, side=112),
    ]
    assert table(rows).splitlines()[2:] == [
        "| first | 1.23 M | 64 | 2.3 | 60.0 (50.0 to 70.0) | 10.0 (5.0 to 15.0) | 59.0 | 5.0 | 512 / 128 | 3.2 |",
        "| second | 1.23 M | 64 | 2.3 | 40.0 (30.0 to 50.0) | 10.0 (5.0 to 15.0) | 39.0 | 5.0 | 512 / 128 | 3.2 |",
        "| published, published weights | 9.60 M | 112 | 2.3 | 99.0 (89.0 to 109.0) | 10.0 (5.0 to 15.0) | 98.0 |  "
        "| 512 / 128 |  |",
    ]


def test_the_plot_has_a_blue_point_for_each_trained_backbone(tmp_path: Path) -> None:
    draw(
        [standing("one", 0.5, milliseconds=1.0), standing("two", 0.2, milliseconds=9.0)], tmp_path / "p.png", "caption"
    )
    image = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)
    assert image.shape == (660, 1080, 3)
    blue = (image[..., 2] - image[..., 0] > 60).any(axis=0)
    starts = np.flatnonzero(blue[1:] & ~blue[:-1])
    assert len(starts) == 2


@pytest.mark.slow
def test_a_larger_network_takes_longer(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    sides = {"lenet": 32, "alexnet": 96}
    for name, side in sides.items():
        write_onnx(build_backbone(name, size=side).eval(), tmp_path / name)
    times = leaderboard.milliseconds({name: tmp_path / name for name in sides}, sides, rounds=9)
    assert 0 < times["lenet"] < times["alexnet"]


def test_every_backbone_gets_the_recipe_at_the_least_side_it_takes() -> None:
    configs = [configure("leaderboard", ["epochs=3"], name) for name in ("resnet18", "nn4-small2")]
    assert [config.size for config in configs] == [32, 72]
    assert [config.backbone for config in configs] == ["resnet18", "nn4-small2"]
    assert [config.epochs for config in configs] == [3, 3]
    assert configs[0].batch == configs[1].batch
    with pytest.raises(RequestError, match="sface is no backbone that is trained from nothing"):
        configure("leaderboard", [], "sface")


@pytest.mark.slow
def test_a_finished_backbone_is_not_trained_again(tmp_path: Path) -> None:
    config, data = configure("leaderboard", RECIPE, "lenet"), made_up()
    first = enter(config, data, tmp_path / "lenet")
    assert first
    assert first.summary
    assert (first.side, first.summary["steps"], first.parameters) == (32, 2, 72_036)
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "lenet").iterdir()}
    assert enter(config, data, tmp_path / "lenet") == first
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "lenet").iterdir()} == written
    with pytest.raises(RequestError, match="another recipe"):
        enter(configure("leaderboard", [*RECIPE, "seed=1"], "lenet"), data, tmp_path / "lenet")


@pytest.mark.slow
def test_the_standing_is_that_of_the_best_weights_on_held_out_people(tmp_path: Path) -> None:
    """The exported network's TAR is the one that training saw last, and the page and its figures are written."""
    config, data = configure("leaderboard", RECIPE, "lenet"), made_up()
    entrant = enter(config, data, tmp_path / "lenet")
    assert entrant
    assert entrant.summary
    (row,) = leaderboard.measure([entrant], data, config)
    assert row.tar[0].value == pytest.approx(entrant.summary["best_tar"], abs=0.01)
    assert row.tar[0].low <= row.tar[0].value <= row.tar[0].high
    assert row.quantised == pytest.approx(row.tar[0].value, abs=0.05)
    assert row.untrained == entrant.summary["untrained_tar"]
    leaderboard.publish([row], leaderboard.caption(entrant, config), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    assert "Triplet loss (all), 24 photographs seen of" in page
    assert table([row]) in page
    assert json.loads((tmp_path / "leaderboard.json").read_text())[0]["parameters"] == 72_036
    assert (tmp_path / "figures" / "leaderboard.png").stat().st_size > 10_000
