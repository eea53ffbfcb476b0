"""Calibrations on disk, found by their template version."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesvc.errors import PackInvalid
from facesvc.models import calibration
from facesvc.models.packs import Packs


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    return Packs(tmp_path / "packs")


def curve(version: str, **changes: Any) -> dict[str, Any]:
    return {
        "template_version": version,
        "distances": [0.0, 1.0, 2.0],
        "fmr": [0.0, 0.001, 0.5],
        "fnmr": [1.0, 0.02, 0.0],
        "non_mated": 10_000,
        "mated": 500,
        "data": "made up",
        "independent": 45,
    } | changes


def test_a_calibration_is_found_by_its_template_version(packs: Packs) -> None:
    packs.build("sface")
    folder = packs.folder / "calibrations"
    folder.mkdir()
    pack = packs.load("sface")
    calibration.save(folder / "a.json", calibration.create(**curve("sha256:another")))
    assert calibration.find("sha256:none", [folder]) is None
    mine = calibration.create(**curve(pack.template_version))
    calibration.save(folder / "b.json", mine)
    found = packs.load("sface").calibration
    assert found
    assert (found.id, found.fmr_at(1.1), found.non_mated) == (mine.id, pytest.approx(0.0509), 10_000)
    overridden = packs.load("sface").with_detector("haar")
    assert overridden.calibration is None
    assert overridden.template_version == pack.manifest.with_detector("haar").template_version


def test_a_calibrations_id_follows_from_its_content(tmp_path: Path) -> None:
    first = calibration.create(**curve("v"))
    assert first.id == calibration.create(**curve("v", distances=np.array([0, 1, 2]))).id
    assert first.id != calibration.create(**curve("v", data="made up anew")).id
    calibration.save(tmp_path / "c.json", first)
    loaded = calibration.load(tmp_path / "c.json")
    assert (loaded.id, loaded.independent) == (first.id, 45)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"fmr": [0.0, 0.1]}, "differ in length"),
        ({"distances": [0.0, 2.0, 1.0]}, "don't ascend"),
        ({"fmr": [0.1, 0.0, 0.5]}, "fmr falls"),
        ({"fnmr": [0.1, 0.2, 0.0]}, "fnmr rises"),
        ({"fmr": [0.0, 0.1, 1.5]}, "fmr.2"),
        ({"non_mated": 0}, "non_mated"),
    ],
)
def test_a_curve_that_is_none_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(PackInvalid, match=fault):
        calibration.create(**curve("v", **changes))
