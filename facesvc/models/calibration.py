"""Calibrations on disk: one JSON file for a template version, found by that version."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facesvc.core.decide import Calibration
from facesvc.errors import PackInvalid
from facesvc.models.manifest import sha256_of_json

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
    non_mated: Count
    mated: Count
    data: str
    independent: Count | None = None

    def faults(self) -> list[str]:
        faults = []
        if not len(self.distances) == len(self.fmr) == len(self.fnmr):
            faults.append("distances, fmr and fnmr differ in length")
        if any(b <= a for a, b in zip(self.distances, self.distances[1:], strict=False)):
            faults.append("distances don't ascend")
        if self.fmr != sorted(self.fmr):
            faults.append("fmr falls somewhere")
        if self.fnmr != sorted(self.fnmr, reverse=True):
            faults.append("fnmr rises somewhere")
        return faults


def create(
    *,
    template_version: str,
    distances: ArrayLike,
    fmr: ArrayLike,
    fnmr: ArrayLike,
    non_mated: int,
    mated: int,
    data: str,
    independent: int | None = None,
) -> Calibration:
    """A calibration with its id: "cal_" and the first 16 hex digits of the SHA-256 of its canonical JSON.

    distances (k,) squared L2 ascending; fmr (k,) not falling; fnmr (k,) not rising. Raises PackInvalid.
    """
    curves = {"distances": distances, "fmr": fmr, "fnmr": fnmr}
    floats = {name: np.asarray(curve, np.float64).tolist() for name, curve in curves.items()}
    counts = {"non_mated": int(non_mated), "mated": int(mated), "independent": independent}
    return _checked({"template_version": template_version, **floats, **counts, "data": data}, "calibration")


def save(path: Path, calibration: Calibration) -> None:
    """Writes what ``load`` reads; the id is not written, since it follows from the rest."""
    path.write_text(json.dumps(_content(calibration), indent=1) + "\n")


def load(path: Path) -> Calibration:
    """Raises PackInvalid where the file is no calibration."""
    try:
        return _checked(json.loads(path.read_bytes()), path.name)
    except (OSError, ValueError) as error:
        raise PackInvalid(f"calibration {path} can't be read: {error}") from error


def find(template_version: str, folders: Iterable[Path]) -> Calibration | None:
    """The first calibration of this template version; one made for another version says nothing about it."""
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            calibration = load(path)
            if calibration.template_version == template_version:
                return calibration
    return None


def _checked(content: Any, origin: str) -> Calibration:
    try:
        curve = _Curve.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise PackInvalid(f"{origin}: {faults}") from error
    if faults := curve.faults():
        raise PackInvalid(f"{origin}: {'; '.join(faults)}")
    arrays = {name: np.array(getattr(curve, name), np.float64) for name in ("distances", "fmr", "fnmr")}
    others = curve.model_dump(exclude=set(arrays))
    return Calibration(id=f"cal_{sha256_of_json(curve.model_dump())[:16]}", **arrays, **others)


def _content(calibration: Calibration) -> dict[str, Any]:
    return {
        "template_version": calibration.template_version,
        "distances": calibration.distances.tolist(),
        "fmr": calibration.fmr.tolist(),
        "fnmr": calibration.fnmr.tolist(),
        "non_mated": calibration.non_mated,
        "mated": calibration.mated,
        "data": calibration.data,
        "independent": calibration.independent,
    }
