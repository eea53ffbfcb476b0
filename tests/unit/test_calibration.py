"""Calibrations on disk, found by their template version."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesvc.errors import PackInvalid
from facesvc.models import calibration
from facesvc.models.packs import Packs

CURVES = {
    "fmr": [0.0, 0.001, 0.5],
    "fmr_low": [0.0, 0.0004, 0.4],
    "fmr_high": [0.0001, 0.002, 0.6],
    "fnmr": [1.0, 0.02, 0.0],
    "fnmr_low": [1.0, 0.01, 0.0],
    "fnmr_high": [1.0, 0.03, 0.006],
}


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    return Packs(tmp_path / "packs")


def curve(version: str, **changes: Any) -> dict[str, Any]:
    return {
        "template_version": version,
        "distances": [0.0, 1.0, 2.0],
        "curves": CURVES | changes.pop("curves", {}),
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
    assert {name: getattr(loaded, name).tolist() for name in CURVES} == CURVES


def test_a_file_without_intervals_is_refused(tmp_path: Path) -> None:
    calibration.save(tmp_path / "c.json", calibration.create(**curve("v")))
    lines = (tmp_path / "c.json").read_text().splitlines()
    (tmp_path / "c.json").write_text("\n".join(line for line in lines if "fmr_low" not in line))
    with pytest.raises(PackInvalid, match=r"c\.json: fmr_low: Field required"):
        calibration.load(tmp_path / "c.json")
    assert calibration.find("another version", [tmp_path]) is None  # it hinders only the pack that it is for
    with pytest.raises(PackInvalid, match=r"c\.json: fmr_low: Field required"):
        calibration.find("v", [tmp_path])


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(PackInvalid, match=r"c\.json can't be read"):
        calibration.find("v", [tmp_path])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"curves": {"fmr": [0.0, 0.1]}}, "differ in length"),
        ({"curves": {"fnmr_high": [1.0, 0.03]}}, "differ in length"),
        ({"distances": [0.0, 2.0, 1.0]}, "don't ascend"),
        ({"curves": {"fmr": [0.1, 0.0, 0.5]}}, "fmr falls"),
        ({"curves": {"fnmr": [0.1, 0.2, 0.0]}}, "fnmr rises"),
        ({"curves": {"fmr_high": [0.01, 0.002, 0.6]}}, "fmr_high falls"),
        ({"curves": {"fnmr_low": [0.0, 0.01, 0.0]}}, "fnmr_low rises"),
        ({"curves": {"fmr_low": [0.0, 0.0011, 0.4]}}, "fmr leaves its interval"),
        ({"curves": {"fnmr_high": [1.0, 0.019, 0.006]}}, "fnmr leaves its interval"),
        ({"curves": {"fmr": [0.0, 0.1, 1.5]}}, "fmr.2"),
        ({"non_mated": 0}, "non_mated"),
    ],
)
def test_a_curve_that_is_none_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(PackInvalid, match=fault):
        calibration.create(**curve("v", **changes))
