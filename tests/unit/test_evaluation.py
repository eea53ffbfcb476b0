"""Pair lists, and what is made of their distances."""

from pathlib import Path

import numpy as np
import pytest

from facesvc.errors import RequestError
from facesvc.evaluation.datasets import Pair, read_pairs
from facesvc.evaluation.verification import PairScores, summarise

LFW = "2\t1\nAda\t1\t2\nAda\t1\tBob\t3\nBob\t2\t1\nAda\t10\tCy\t4\n"


def test_pairs_in_lfw_format(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(LFW)
    assert read_pairs(tmp_path / "pairs.txt") == [
        Pair(Path("Ada/Ada_0001.jpg"), Path("Ada/Ada_0002.jpg"), True, 0),
        Pair(Path("Ada/Ada_0001.jpg"), Path("Bob/Bob_0003.jpg"), False, 0),
        Pair(Path("Bob/Bob_0002.jpg"), Path("Bob/Bob_0001.jpg"), True, 1),
        Pair(Path("Ada/Ada_0010.jpg"), Path("Cy/Cy_0004.jpg"), False, 1),
    ]


def test_a_list_without_folds_is_one_fold(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("1\nAda\t1\t2\nAda\t1\tBob\t3\n")
    assert [pair.fold for pair in read_pairs(tmp_path / "pairs.txt")] == [0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pairs\n",
        "1 2\nAda 1 2\n",  # fewer pairs than promised
        "1\nAda 1 2\nAda one Bob 3\n",
        "1\nAda 1 2\nAda 1\n",
        "1\n../etc 1 2\nAda 1 Bob 3\n",
    ],
)
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(RequestError, match="is not an LFW pair list"):
        read_pairs(tmp_path / "pairs.txt")


def test_figures_by_hand() -> None:
    scores = PairScores(
        distances=np.array([0.4, 1.3, 4.0, 1.0, 0.5, 1.9, 0.6, 1.6]),
        mated=np.array([True, False, True, False, True, False, True, False]),
        folds=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
        failures={Path("a.jpg"): "no_face"},
        photographs=9,
    )
    figures = summarise(scores, threshold=1.1)
    at = figures["at_threshold"]
    assert (at["fmr"], at["fnmr"]) == (0.25, 0.25)  # the pair at 1.0; the photograph that failed
    assert (figures["pairs"], figures["folds"], figures["failures_to_enrol"]) == (8, 2, 1)
    assert figures["auc"] == pytest.approx(12 / 16)
    assert figures["tar"] == {"1e-2": 0.75, "1e-3": 0.75}
    assert figures["accuracy"] == pytest.approx((0.5 + 1.0) / 2)  # thresholds 1.1 of fold 1, 0.7 of fold 0
    assert figures["best_thresholds"] == pytest.approx([1.1, 0.7])
    assert at["fmr_interval"] == pytest.approx((0.0456, 0.6994), abs=1e-4)
