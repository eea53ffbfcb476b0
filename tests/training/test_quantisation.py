"""What int8 templates cost on pairs, by hand-made vectors and on real portraits."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from facesvc.core.types import Vectors
from facesvc.evaluation.datasets import Pair
from training.quantisation import STEP, cost, from_bytes, main, to_bytes


def at(angle: float) -> Vectors:
    """Unit (128,) in the plane of the vectors with equal and with alternating components; squared L2 of two is
    2 - 2 cos of the difference of their angles."""
    even, odd = np.ones(128), np.tile([1.0, -1.0], 64)
    return ((np.cos(angle) * even + np.sin(angle) * odd) / np.sqrt(128)).astype(np.float32)


VECTORS = {Path(name): at(angle) for name, angle in {"a1": 0.0, "a2": 0.5, "b1": 1.5, "b2": 2.9, "c1": 2.5}.items()}
PAIRS = [
    Pair(Path("a1"), Path("a2"), True, 0),
    Pair(Path("b1"), Path("b2"), True, 0),
    Pair(Path("a1"), Path("b1"), False, 0),
    Pair(Path("b1"), Path("c1"), False, 0),
    Pair(Path("a1"), Path("gone"), True, 1),
    Pair(Path("a1"), Path("c1"), False, 1),
]
"""Distances: mated 0.24, 1.66 and, of a photograph that failed, 4; non-mated 1.86, 0.92 and 3.60."""


def test_rates_are_those_of_the_distances() -> None:
    found = cost(VECTORS, PAIRS, threshold=1.1, failures=1)
    for rates in (found.float32, found.int8):
        assert (rates.fmr, rates.fnmr) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
        assert (rates.tar_at_1e2, rates.tar_at_1e3) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (found.pairs, found.failures, found.decisions, found.cut) == (6, 1, 0, 0)
    assert found.largest_component == pytest.approx(max(np.abs(v).max() for v in VECTORS.values()))


def test_the_largest_change_is_that_of_the_distances_by_hand() -> None:
    found = cost(VECTORS, PAIRS, threshold=1.1)
    changes = []
    for pair in PAIRS:
        if pair.second in VECTORS:
            before = np.stack([VECTORS[pair.first], VECTORS[pair.second]])
            after = from_bytes(to_bytes(before))
            changes.append(squared_l2(after, after)[0, 1] - squared_l2(before, before)[0, 1])
    assert found.largest_change == pytest.approx(np.abs(changes).max(), rel=1e-4)
    assert found.usual_change == pytest.approx(np.sqrt(np.square([*changes, 0.0]).mean()), rel=1e-4)
    assert 0 < found.largest_change < 2 * 2 * STEP * np.sqrt(128)


def test_distances_are_those_of_templates_of_the_packs_norm() -> None:
    """At norm 2 all distances are four times as large, so at four times the threshold every rate is the same."""
    plain, long = cost(VECTORS, PAIRS, 1.1), cost(VECTORS, PAIRS, 4.4, norm=2.0)
    assert (long.float32, long.int8) == (plain.float32, plain.int8)
    assert long.largest_change == pytest.approx(4 * plain.largest_change)


@pytest.mark.slow
def test_the_command_compares_portraits(
    samples: Path, locked_build: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both columns agree, whatever the threshold: the portraits' distances are far from it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "packs").symlink_to(locked_build("sface"))
    for file, portrait in {"Barack_0001": "obama", "Barack_0002": "obama2", "Joe_0001": "biden"}.items():
        (source,) = samples.rglob(f"{portrait}.jpg")
        folder = tmp_path / file.partition("_")[0]
        folder.mkdir(exist_ok=True)
        (folder / f"{file}.jpg").write_bytes(source.read_bytes())
    (tmp_path / "pairs.txt").write_text("1\nBarack 1 2\nBarack 1 Joe 1\n")
    asked = ["--pairs", str(tmp_path / "pairs.txt"), "--pack", "sface", "--data", str(tmp_path / "data")]
    assert main([*asked, "--images", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["float32"] == found["int8"]
    assert {name: found["int8"][name] for name in ("tar_at_1e2", "fmr", "fnmr")} == {
        "tar_at_1e2": 1.0,
        "fmr": 0.0,
        "fnmr": 0.0,
    }
    assert 0 < found["largest_change"] < 0.02
    assert (found["pairs"], found["failures"], found["decisions"], found["cut"]) == (2, 0, 0, 0)
    assert main([*asked, "--images", str(tmp_path / "data")]) == 2
    assert "Barack_0001.jpg is in the pair list but not in the image folder" in capsys.readouterr().err
