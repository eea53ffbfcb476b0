"""Figures of cached vectors, by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.evaluate import main


def write(folder: Path, subjects: str) -> list[str]:
    vectors = np.eye(4, 128, dtype=np.float32)
    vectors[1] = vectors[0]
    vectors[3] = np.nan
    np.save(folder / "vectors.npy", vectors)
    (folder / "subjects.txt").write_text(subjects)
    return ["--vectors", str(folder / "vectors.npy"), "--subjects", str(folder / "subjects.txt"), "--resamples", "20"]


def test_cached_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ada twice the same, Bob at distance 2 and once failed: 2 mated comparisons, 4 of strangers."""
    main(write(tmp_path, "ada\nada\nbob\nbob\n"))
    figures = json.loads(capsys.readouterr().out)
    assert (figures["mated"], figures["non_mated"]) == (2, 4)
    assert (figures["at_threshold"]["fmr"], figures["at_threshold"]["fnmr"]) == (0.0, 0.5)
    assert figures["tar"] == {"1e-2": 0.5, "1e-3": 0.5}
    assert figures["failures"] == {"row 3": "failed"}


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="names 2 subjects"):
        main(write(tmp_path, "ada\nbob\n"))
