"""Aligned sets: every photograph's face as a chip, found and aligned by the service's own stages, kept on disk.

    python -m training.aligned people/ --output aligned/ --size 112 --margin 0.1

A second run does only what changed: photographs are known by name, size and time, and by digest where these differ.
A run that was killed goes on where it was. A changed detector, crop or size starts over.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from facesvc.config import Settings
from facesvc.core.choose import choose
from facesvc.core.types import FaceChoice, Pixels
from facesvc.errors import FaceServiceError, FileUnreadable, ImageError, RequestError, SampleError
from facesvc.models.assembly import digest_of
from facesvc.models.packs import Packs
from facesvc.pipeline.align import align
from facesvc.pipeline.decode import DecodeLimits, decode
from facesvc.pipeline.detect import DETECTORS, open_detector
from facesvc.threads import ordered_map
from training.data.crop import landmarks
from training.data.folders import Photograph, read_folder
from training.data.ledger import Entry, Ledger

MANIFEST = "manifest.json"
"""Written last: the set is complete while it is there."""
REVISION = 1
"""Raised when a change of the code makes other chips."""
BATCH = 16
"""Photographs that become durable together, and that a killed run does again: half a second of work."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSet:
    """chips: (n s s 3) uint8 RGB, memory-mapped, read-only; subjects: (n,) str; files: the n photographs'
    ``folder/file``; failures: the other photographs' -> error code. In the order of the photographs.

    pipeline: what made the chips; its ``size`` is s, its ``margin`` the share of the side that is context.
    """

    chips: NDArray[np.uint8]
    subjects: NDArray[np.str_]
    files: list[str]
    failures: dict[str, str]
    pipeline: dict[str, Any]

    @property
    def size(self) -> int:
        return self.pipeline["size"]

    @property
    def margin(self) -> float:
        return self.pipeline["margin"]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) the subjects numbered in their sorted order, from 0."""
        return np.unique(self.subjects, return_inverse=True)[1].astype(np.int64)

    @classmethod
    def load(cls, folder: Path) -> "AlignedSet":
        """Raises RequestError where the folder holds no complete set."""
        ledger = Ledger.read(folder)
        if read_manifest(folder) != describe(ledger):
            raise RequestError(f"the aligned set in {folder} is not complete: run training.aligned again")
        kept = [entry for entry in ledger.entries if entry.row is not None]
        return cls(
            chips=ledger.chips(),
            subjects=np.array([entry.subject for entry in kept], np.str_),
            files=[entry.file for entry in kept],
            failures={entry.file: entry.code for entry in ledger.entries if entry.code},
            pipeline=ledger.pipeline,
        )


class Aligner:
    """The service's stages up to the chip. pipeline: everything that determines the chips. Thread-safe."""

    def __init__(self, settings: Settings, size: int, margin: float) -> None:
        """Raises RequestError for a crop that can't be, ModelError where the detector can't be had."""
        cv2.setNumThreads(1)  # photographs run side by side
        self.size, self.template = size, landmarks(size, margin)
        self.limits = DecodeLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
        packs, digests = Packs(settings.packs), {}

        def file(name: str) -> Path:
            path = packs.detector_file(name)
            digests[name] = digest_of(path)
            return path

        name = settings.detector or DETECTORS[0]
        self.detector = open_detector(name, file, settings.runtime)
        self.pipeline: dict[str, Any] = {
            "revision": REVISION,
            "detector": name,
            "detector_files": dict(sorted(digests.items())),
            "choice": FaceChoice.PROMINENT.value,
            "limits": asdict(self.limits),
            "size": size,
            "margin": margin,
            "landmarks": self.template.round(6).tolist(),
        }

    def chip(self, content: bytes) -> Pixels:
        """The file's bytes -> (size size 3) uint8 RGB. Raises ImageError, SampleError."""
        pixels = decode(content, self.limits).pixels
        height, width = pixels.shape[:2]
        face = choose(self.detector.detect(pixels), FaceChoice.PROMINENT, width, height)[0]
        return align(pixels, face.landmarks, self.template, self.size)

    def read(self, photograph: Photograph) -> tuple[Entry, Pixels | None]:
        """The photograph's entry, without a row yet, and its chip; the error's code in place of a failed one's."""
        try:
            with photograph.file.open("rb") as file:
                content, stat = file.read(), photograph.file.stat()
        except OSError:
            return Entry(photograph.name, photograph.subject, 0, 0, "", code=FileUnreadable.code), None
        digest = hashlib.sha256(content).hexdigest()
        entry = Entry(photograph.name, photograph.subject, stat.st_size, stat.st_mtime_ns, digest)
        try:
            return entry, self.chip(content)
        except (ImageError, SampleError) as error:
            return replace(entry, code=error.code), None


def prepare(
    photographs: Sequence[Photograph],
    folder: Path,
    *,
    settings: Settings,
    size: int = 112,
    margin: float = 0.0,
    workers: int = 2,
) -> AlignedSet:
    """Brings the aligned set in ``folder`` to these photographs, and loads it.

    size: the chips' side, px; margin: share of it that is context around the ArcFace crop (``training.data.crop``);
    workers: photographs in work at once. Progress goes to stderr.
    Raises RequestError where two photographs have one name or another run writes the folder; ModelError.
    """
    repeated = [name for name, count in Counter(photograph.name for photograph in photographs).items() if count > 1]
    if repeated:
        raise RequestError(f"two photographs are called {repeated[0]}: align their folders into sets of their own")
    aligner = Aligner(settings, size, margin)
    with _locked(folder):
        ledger = Ledger.open(folder, aligner.pipeline, size)
        known = {entry.file: entry for entry in ledger.entries}
        entries = {photograph: _known(photograph, known) for photograph in photographs}
        if list(entries.values()) != ledger.entries or read_manifest(folder) != describe(ledger):
            (folder / MANIFEST).unlink(missing_ok=True)
            _bring_up(ledger, entries, aligner, workers)
            (folder / MANIFEST).write_text(json.dumps(describe(ledger), indent=2) + "\n")
    return AlignedSet.load(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RequestError(f"another run is writing {folder}") from error


def _bring_up(ledger: Ledger, entries: dict[Photograph, Entry | None], aligner: Aligner, workers: int) -> None:
    """Appends what is new or changed (has no entry), then puts everything in the order of ``entries``."""
    found = {photograph.name: entry for photograph, entry in entries.items()}
    todo = [photograph for photograph, entry in entries.items() if entry is None]
    results = (result for _, result in ordered_map(aligner.read, todo, workers))
    shown = track(results, "aligning", len(entries), len(entries) - len(todo), console=Console(stderr=True))
    for batch in _batches(shown):
        found |= {entry.file: entry for entry in ledger.append(batch)}
    wanted = [entry for entry in found.values() if entry]
    if wanted != ledger.entries:
        ledger.arrange(wanted)


def _known(photograph: Photograph, known: dict[str, Entry]) -> Entry | None:
    """The photograph's entry, if its file is still what was read; unreadable ones are tried again."""
    entry = known.get(photograph.name)
    if entry is None or entry.code == FileUnreadable.code:
        return None
    try:
        stat = photograph.file.stat()
        is_touched = (stat.st_size, stat.st_mtime_ns) != (entry.bytes, entry.mtime_ns)
        if is_touched and digest_of(photograph.file) != entry.sha256:
            return None
    except OSError:
        return None
    return replace(entry, subject=photograph.subject, bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)


def _batches(results: Iterable[tuple[Entry, Pixels | None]]) -> Iterator[list[tuple[Entry, Pixels | None]]]:
    source = iter(results)
    while batch := list(islice(source, BATCH)):
        yield batch


def describe(ledger: Ledger) -> dict[str, Any]:
    """The manifest: what made the set, and what is in it."""
    canonical = json.dumps(ledger.pipeline, sort_keys=True, separators=(",", ":"))
    failures = Counter(entry.code for entry in ledger.entries if entry.code)
    return {
        "fingerprint": f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}",
        "pipeline": ledger.pipeline,
        "chips_file": ledger.name,
        "photographs": len(ledger.entries),
        "chips": len(ledger.entries) - failures.total(),
        "subjects": len({entry.subject for entry in ledger.entries if entry.row is not None}),
        "failures": dict(sorted(failures.items())),
    }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """None where the set is not complete."""
    try:
        return json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def report(aligned: AlignedSet) -> str:
    people, counts = len(np.unique(aligned.subjects)), Counter(aligned.failures.values())
    lines = [f"{file}: {code}" for file, code in aligned.failures.items()]
    refused = ", ".join(f"{count} {code}" for code, count in counts.most_common()) or "none"
    lines.append(f"{len(aligned.chips)} chips of {people} people, {aligned.size} px; without a chip: {refused}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder per person")
    parser.add_argument("--output", type=Path, required=True, help="folder of the aligned set")
    parser.add_argument("--size", type=int, default=112, help="side of a chip, px")
    parser.add_argument("--margin", type=float, default=0.0, help="share of the side that is context for crop jitter")
    parser.add_argument("--review", type=Path, default=None, help="what training.clean drafted, looked at")
    parser.add_argument("--detector", default=None, help=f"default: {DETECTORS[0]}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the manifest and the failures as JSON")
    arguments = parser.parse_args()
    settings = Settings(detector=arguments.detector, workers=arguments.workers)
    try:
        photographs = read_folder(arguments.folder, review=arguments.review)
        sizes = {"size": arguments.size, "margin": arguments.margin}
        aligned = prepare(photographs, arguments.output, settings=settings, workers=arguments.workers, **sizes)
    except FaceServiceError as error:
        sys.exit(f"{error.code}: {error.detail}")
    manifest = read_manifest(arguments.output) or {}
    print(json.dumps({**manifest, "failures": aligned.failures}) if arguments.json else report(aligned))


if __name__ == "__main__":
    main()
