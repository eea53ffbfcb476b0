"""Calibrations on disk: one JSON file for a template version, found by that version."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facesvc.core.decide import Calibration
from facesvc.errors import PackInvalid
from facesvc.models.manifest import sha256_of_json

RISING, FALLING = ("fmr", "fmr_low", "fmr_high"), ("fnmr", "fnmr_low", "fnmr_high")
COMMITTED = Path(__file__).parent / "calibrations"
Rate = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Curve(BaseModel):
    """The file's keys."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    template_version: str
    distances: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2)]
    fmr: list[Rate]
    fnmr: list[Rate]
    fmr_low: list[Rate]
    fmr_high: list[Rate]
    fnmr_low: list[Rate]
    fnmr_high: list[Rate]
    non_mated: Count
    mated: Count
    data: str
    independent: Count | None = None

    def faults(self) -> list[str]:
        curves: dict[str, list[float]] = {name: getattr(self, name) for name in RISING + FALLING}
        if any(len(curve) != len(self.distances) for curve in curves.values()):
            return ["distances and the curves over them differ in length"]
        faults = [f"{name} falls somewhere" for name in RISING if curves[name] != sorted(curves[name])]
        faults += [f"{name} rises somewhere" for name in FALLING if curves[name] != sorted(curves[name], reverse=True)]
        if any(b <= a for a, b in pairwise(self.distances)):
            faults.append("distances don't ascend")
        for low, rate, high in (RISING[1], RISING[0], RISING[2]), (FALLING[1], FALLING[0], FALLING[2]):
            ends = zip(curves[low], curves[rate], curves[high], strict=True)
            faults += [f"{rate} leaves its interval"] * any(not a <= b <= c for a, b, c in ends)
        return faults


def create(
    *,
    template_version: str,
    distances: ArrayLike,
    curves: Mapping[str, ArrayLike],
    non_mated: int,
    mated: int,
    data: str,
    independent: int | None = None,
) -> Calibration:
    """A calibration with its id: "cal_" and the first 16 hex digits of the SHA-256 of its canonical JSON.

    distances (k,) squared L2 ascending; curves: (k,) each, fmr, fmr_low and fmr_high not falling; fnmr, fnmr_low and
    fnmr_high not rising; every rate within its interval. Raises PackInvalid.
    """
    arrays = {"distances": distances, **curves}
    content = {name: np.asarray(array, np.float64).tolist() for name, array in arrays.items()}
    counts = {"non_mated": int(non_mated), "mated": int(mated), "independent": independent}
    return _checked({"template_version": template_version, **content, **counts, "data": data}, "calibration")


def save(path: Path, calibration: Calibration) -> None:
    """Writes what ``load`` reads, a line for each key; the id is not written, since it follows from the rest."""
    content = asdict(calibration)
    del content["id"]
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in content.items()}
    path.write_text("{\n" + ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in plain.items()) + "\n}\n")


def load(path: Path) -> Calibration:
    """Raises PackInvalid where the file is no calibration."""
    return _checked(_read(path), path.name)


def find(template_version: str, folders: Iterable[Path]) -> Calibration | None:
    """The first calibration of this template version; one made for another version says nothing about it, and is
    not looked at further. Raises PackInvalid where it is damaged, or a file is no JSON."""
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            content = _read(path)
            if isinstance(content, dict) and content.get("template_version") == template_version:
                return _checked(content, path.name)
    return None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PackInvalid(f"calibration {path} can't be read: {error}") from error


def _checked(content: Any, origin: str) -> Calibration:
    try:
        curve = _Curve.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise PackInvalid(f"{origin}: {faults}") from error
    if faults := curve.faults():
        raise PackInvalid(f"{origin}: {'; '.join(faults)}")
    content = curve.model_dump()
    arrays = {name: np.array(content[name], np.float64) for name in ("distances", *RISING, *FALLING)}
    return Calibration(id=f"cal_{sha256_of_json(content)[:16]}", **{**content, **arrays})
