"""What the packs' networks say of every photograph, kept on disk: heads are trained and compared on it.

    python -m training.features people/ --packs sface dlib --output features/people.npz

Faces are found and aligned by the service's own stages. A second run with the same photographs and networks does
nothing.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from facesvc.config import Settings
from facesvc.core.choose import choose
from facesvc.core.types import FaceChoice, Pixels
from facesvc.errors import FaceServiceError, ImageError, RequestError, SampleError
from facesvc.files import SHARED, replacing
from facesvc.models.assembly import digest_of
from facesvc.models.manifest import sha256_of_json
from facesvc.models.packs import Packs, network_file
from facesvc.pipeline.decode import DecodeLimits, decode
from facesvc.pipeline.detect import DETECTORS, open_detector
from facesvc.pipeline.embed import ChipNetwork
from facesvc.threads import ordered_map
from training.data.folders import Photograph, read_folder

Floats = NDArray[np.float32]
Labels = NDArray[np.str_]


class Sides(NamedTuple):
    """A network's output for the chip and for its mirror image, (k,) or (n k) float32, as the network gives them."""

    chip: Floats
    mirror: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """outputs: pack -> (n k) each; subjects, files (n,): who is on each photograph, ``folder/file``;
    landmarks: (n 5 2) px; failures: file -> error code; fingerprint: digest of what determines all of it."""

    outputs: Mapping[str, Sides]
    subjects: Labels
    files: Labels
    landmarks: Floats
    failures: Mapping[str, str]
    fingerprint: str

    def unit(self, pack: str, flip: bool = True) -> Floats:
        """(n k), unit length: the chip's output, or that of chip and mirror image added. Raises RequestError."""
        if pack not in self.outputs:
            raise RequestError(f"the features have no {pack}, only {', '.join(self.outputs)}")
        chip, mirror = self.outputs[pack]
        return unit(chip + mirror if flip else chip)

    def take(self, chosen: NDArray[Any]) -> "Features":
        """The photographs of these rows: a mask (n,) or indices."""
        outputs = {pack: Sides(*(side[chosen] for side in sides)) for pack, sides in self.outputs.items()}
        rows = {name: getattr(self, name)[chosen] for name in ("subjects", "files", "landmarks")}
        return replace(self, outputs=outputs, **rows)

    def save(self, path: Path) -> None:
        sides = {f"{pack}.{side}": getattr(both, side) for pack, both in self.outputs.items() for side in both._fields}
        failed = np.array([list(self.failures), list(self.failures.values())], np.str_)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {name: getattr(self, name) for name in ("subjects", "files", "landmarks", "fingerprint")}
        with replacing(path, SHARED) as stream:
            np.savez(stream, allow_pickle=False, failed=failed, **about, **sides)


def unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1; none may be zero."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def load(path: Path) -> Features:
    """Raises RequestError where the file can't be read or holds no features."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            packs = [name.removesuffix(".chip") for name in stored.files if name.endswith(".chip")]
            outputs = {pack: Sides(stored[f"{pack}.chip"], stored[f"{pack}.mirror"]) for pack in packs}
            failures = dict(zip(*stored["failed"].tolist(), strict=True))
            rows = {name: stored[name] for name in ("subjects", "files", "landmarks")}
            return Features(outputs=outputs, failures=failures, fingerprint=str(stored["fingerprint"]), **rows)
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"{path} holds no features: {error}") from error


class Reading(NamedTuple):
    """Of one photograph: pack -> outputs (k,), and the face's landmarks (5 2) px."""

    sides: dict[str, Sides]
    landmarks: Floats


class FeatureReader:
    """The service's stages up to the networks' outputs. Thread-safe. Raises ModelError."""

    def __init__(self, settings: Settings, packs: Sequence[str]) -> None:
        cv2.setNumThreads(1)  # photographs run side by side
        built = {name: Packs(settings.packs).build(name) for name in packs}
        detector = settings.detector or DETECTORS[0]
        self.limits = DecodeLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
        self.detector = open_detector(detector, Packs(settings.packs).detector_file, settings.runtime)
        described = {name: pack.manifest.networks[0] for name, pack in built.items()}
        self.networks = {
            name: ChipNetwork(
                replace(described[name], flip=False, weight=1.0),
                pack.path(network_file(0)),
                settings.runtime,
                1,
                settings.workers,
            )
            for name, pack in built.items()
        }
        self.determinants = {
            "detector": detector,
            "networks": {name: n.determinants() for name, n in described.items()},
        }

    def read(self, photograph: Photograph) -> Reading | str:
        """What the networks say of the most prominent face, or the code of the error."""
        try:
            pixels = decode(photograph.file.read_bytes(), self.limits).pixels
            height, width = pixels.shape[:2]
            face = choose(self.detector.detect(pixels), FaceChoice.PROMINENT, width, height)[0]
            sides = {name: _both(own, own.align(pixels, face.landmarks)) for name, own in self.networks.items()}
            return Reading(sides, face.landmarks)
        except (ImageError, SampleError) as error:
            return error.code


def _both(network: ChipNetwork, chip: Pixels) -> Sides:
    return Sides(*network.outputs([chip, chip[:, ::-1]]))


def extract(photographs: Sequence[Photograph], path: Path, settings: Settings, packs: Sequence[str]) -> Features:
    """The features of these photographs: those in ``path`` where they are just these, else made and kept there.

    Progress goes to stderr. Raises ModelError, RequestError.
    """
    reader = FeatureReader(settings, packs)
    named = [[photograph.name, photograph.subject, digest_of(photograph.file)] for photograph in photographs]
    fingerprint = f"sha256:{sha256_of_json([reader.determinants, named])}"
    if path.exists() and (known := load(path)).fingerprint == fingerprint:
        return known
    results = ordered_map(reader.read, photographs, settings.workers)
    found = list(track(results, "features", total=len(photographs), console=Console(stderr=True)))
    made = _collect(found, packs, fingerprint)
    made.save(path)
    return made


def _collect(found: Sequence[tuple[Photograph, Reading | str]], packs: Sequence[str], fingerprint: str) -> Features:
    good = [(photograph, reading) for photograph, reading in found if not isinstance(reading, str)]
    if not good:
        raise RequestError("no photograph shows a face")
    return Features(
        outputs={pack: Sides(*map(np.stack, zip(*(r.sides[pack] for _, r in good), strict=True))) for pack in packs},
        subjects=np.array([photograph.subject for photograph, _ in good], np.str_),
        files=np.array([photograph.name for photograph, _ in good], np.str_),
        landmarks=np.stack([reading.landmarks for _, reading in good]),
        failures={photograph.name: reading for photograph, reading in found if isinstance(reading, str)},
        fingerprint=fingerprint,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder per person")
    parser.add_argument("--packs", nargs="+", default=["sface", "dlib"], help="packs of one network each")
    parser.add_argument("--output", type=Path, required=True, help="features file (.npz)")
    parser.add_argument("--review", type=Path, default=None, help="what training.clean drafted, looked at")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    settings = Settings(workers=arguments.workers)
    try:
        photographs = read_folder(arguments.folder, review=arguments.review)
        made = extract(photographs, arguments.output, settings, arguments.packs)
    except FaceServiceError as error:
        sys.exit(f"{error.code}: {error.detail}")
    people = len(np.unique(made.subjects))
    print(
        f"{len(made.files)} photographs of {people} people in {arguments.output}; {len(made.failures)} without a face"
    )


if __name__ == "__main__":
    main()
