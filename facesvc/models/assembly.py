"""Fills the folder of a pack: each network converted from its published weights, the head, and the final manifest.

A sealed folder: files that appear all at once, with their digests, or not at all.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facesvc.errors import CarrierMissing, PackDamaged, PackInvalid, PackNotFound
from facesvc.files import replacing_folder
from facesvc.models import carriers, converters, dlib, network
from facesvc.models import head as heads
from facesvc.models.manifest import Head, Manifest

HEADS = Path(__file__).parent / "heads"
"""The trained heads that are shipped."""
MANIFEST, HEAD = "manifest.json", "head.safetensors"
CONVERTERS: Mapping[str, Callable[[bytes, Path], None]] = {
    "sface": converters.convert_sface,
    "dlib": dlib.convert,
    "facenet": converters.convert_facenet,
    "onnx": converters.convert_custom,
}


def network_file(i: int) -> str:
    """Name of the i-th network's file in a pack's folder."""
    return f"network-{i}.onnx"


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a pack is to be made of.

    weights: the user's own copies of the source files, one for each network in the manifest's order, or none;
    head: the user's own, safetensors; allow_url: weights may be downloaded.
    """

    wanted: Manifest
    weights: Sequence[Path] = ()
    head: Path | None = None
    allow_url: bool = False

    def fill(self, draft: Path) -> None:
        """Writes the pack's files into the empty folder ``draft``. Raises ModelError."""
        layer = self._layer()
        sources = self._convert(draft)
        if layer:
            heads.save(draft / HEAD, layer)
        is_stand_in = bool(self.wanted.head and self.wanted.head.stand_in and not self.head)
        built = self.wanted.with_digests(sources, heads.digest(layer) if layer else None, is_stand_in)
        (draft / MANIFEST).write_text(built.to_json())

    def _convert(self, draft: Path) -> list[str]:
        """Every network, fetched, converted and tried; the digests of the source files."""
        count = len(self.wanted.networks)
        if self.weights and len(self.weights) != count:
            wants = f"give --weights FILE {count} times, in the order of its manifest, or not at all"
            raise PackInvalid(f"pack {self.wanted.name} has {count} networks, not {len(self.weights)}: {wants}")
        digests = []
        for i, described in enumerate(self.wanted.networks):
            own = self.weights[i] if self.weights else None
            content, digest = carriers.fetch(described.source, self.wanted.name, own, self.allow_url, count)
            CONVERTERS[described.converter](content, draft / network_file(i))
            network.check(draft / network_file(i), described)
            digests.append(digest)
        return digests

    def _layer(self) -> heads.LinearHead | None:
        described = self.wanted.head
        if described is None:
            if self.head:
                raise PackInvalid(f"pack {self.wanted.name} takes no head")
            return None
        layer = self._read_head(described)
        is_pinned = described.sha256 and (self.head is None or not described.stand_in)
        if is_pinned and heads.digest(layer) != described.sha256:
            raise PackDamaged(f"the head of pack {self.wanted.name} has another digest than its manifest says")
        return layer

    def _read_head(self, described: Head) -> heads.LinearHead:
        """The user's own head before the shipped one before the stand-in."""
        if self.head:
            return heads.load(self.head, described.features)
        if described.file and (HEADS / described.file).is_file():
            return heads.load(HEADS / described.file, described.features)
        if described.stand_in:
            return heads.projection(described.features)
        name = self.wanted.name
        raise CarrierMissing(f"pack {name} needs its head: facesvc models build {name} --head FILE")


SEAL = "files.json"
"""File name -> SHA-256 of every other file of the folder."""


def seal(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replace ``folder`` by what ``fill`` writes into the empty folder it is given, and a list of its files' digests.

    A killed build leaves the old folder or none. The caller keeps two processes from sealing it at the same time.
    """
    with replacing_folder(folder) as draft:
        fill(draft)
        digests = {path.name: digest_of(path) for path in sorted(draft.iterdir())}
        (draft / SEAL).write_text(json.dumps(digests, indent=2) + "\n")


def verify(folder: Path) -> Mapping[str, str]:
    """The folder's files and digests, every one checked. Raises PackNotFound, PackDamaged."""
    digests = _read_seal(folder)
    for name, digest in digests.items():
        try:
            found = digest_of(folder / name)
        except OSError as error:
            raise PackDamaged(f"{folder / name} can't be read: {error.strerror}; build it anew") from error
        if found != digest:
            raise PackDamaged(f"{folder / name} has SHA-256 {found}, not {digest}; build it anew")
    return digests


def _read_seal(folder: Path) -> dict[str, str]:
    try:
        digests = json.loads((folder / SEAL).read_bytes())
    except FileNotFoundError as error:
        raise PackNotFound(f"{folder} is not built") from error
    except (OSError, ValueError) as error:
        raise PackDamaged(f"{folder / SEAL} can't be read; build it anew") from error
    plain = isinstance(digests, dict) and all(name == Path(name).name for name in digests)
    if not plain or not all(isinstance(digest, str) for digest in digests.values()):
        raise PackDamaged(f"{folder / SEAL} is no list of files; build it anew")
    return digests


def digest_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
