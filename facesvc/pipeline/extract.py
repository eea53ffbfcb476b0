"""The stages in a row: photograph -> decode -> detect -> align -> assess -> embed -> templates.

The service and training both run this one chain, so what is measured is what is served.

The captures of a whole list of files, side by side.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from facesvc.core.choose import choose
from facesvc.core.decide import Calibration
from facesvc.core.ports import Detector, Embedder, Extractor
from facesvc.core.quality import QualityPolicy, assess
from facesvc.core.types import AlignedFace, Capture, Face, FaceChoice, Image, Pixels, Quality, Sample, Template, Vectors
from facesvc.errors import FaceServiceError, TooManyFaces
from facesvc.threads import ordered_map


class Stopwatch:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + (perf_counter() - start) * 1000


@dataclass(frozen=True, slots=True)
class PhotographExtractor:
    """Implements ``core.ports.Extractor`` over its stages.

    decode: bytes -> Image (raises ImageError); max_faces: faces in one photograph;
    pack, title, norm, threshold, calibration: of the pack behind ``embedder``.
    """

    decode: Callable[[bytes], Image]
    detector: Detector
    embedder: Embedder
    pack: str
    title: str
    norm: float = 1.0
    threshold: float = 1.1
    calibration: Calibration | None = None
    policy: QualityPolicy = field(default_factory=QualityPolicy)
    max_faces: int = 100

    @property
    def template_version(self) -> str:
        return self.embedder.template_version

    def detect(self, photograph: bytes) -> Capture:
        """See ``core.ports.Extractor.detect``."""
        watch = Stopwatch()
        image, faces = self._find(photograph, watch)
        aligned = self._align(image, faces, watch)
        nothing = np.zeros((len(faces), 0), np.float32)
        return self._capture(image, faces, aligned, nothing, len(faces), watch)

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        """See ``core.ports.Extractor.extract``."""
        watch = Stopwatch()
        image, faces = self._find(photograph, watch)
        chosen = choose(faces, choice, image.pixels.shape[1], image.pixels.shape[0])
        aligned = self._align(image, chosen, watch)
        with watch.stage("embed"):
            vectors = self.embedder.embed(aligned)
        return self._capture(image, chosen, aligned, vectors, len(faces), watch)

    def _find(self, photograph: bytes, watch: Stopwatch) -> tuple[Image, list[Face]]:
        with watch.stage("decode"):
            image = self.decode(photograph)
        with watch.stage("detect"):
            faces = self.detector.detect(image.pixels)
        if len(faces) > self.max_faces:
            raise TooManyFaces(f"{len(faces)} faces found, at most {self.max_faces} are handled in one photograph")
        return image, faces

    def _align(self, image: Image, faces: Sequence[Face], watch: Stopwatch) -> list[AlignedFace]:
        with watch.stage("align"):
            return [self.embedder.align(image.pixels, face.landmarks) for face in faces]

    def _capture(
        self,
        image: Image,
        faces: Sequence[Face],
        aligned: Sequence[AlignedFace],
        vectors: Vectors,
        found: int,
        watch: Stopwatch,
    ) -> Capture:
        upright = [face.scaled(1 / image.scale) for face in faces]
        with watch.stage("assess"):
            qualities = [self._assess(face, chips[0], image) for face, chips in zip(upright, aligned, strict=True)]
        samples = tuple(
            Sample(face, quality, Template(vector, self.template_version))
            for face, quality, vector in zip(upright, qualities, vectors, strict=True)
        )
        return Capture(samples, found, image.width, image.height, watch.timings, image.format)

    def _assess(self, face: Face, chip: Pixels, image: Image) -> Quality:
        return assess(face, chip, image.width, image.height, self.policy)


def extract_files(
    extractor: Extractor, files: Iterable[Path], choice: FaceChoice, workers: int
) -> Iterator[tuple[Path, Capture | FaceServiceError]]:
    """Each file with its capture, or with the error that refused it; in the order given."""

    def extract(file: Path) -> Capture | FaceServiceError:
        try:
            return extractor.extract(file.read_bytes(), choice)
        except FaceServiceError as error:
            return error

    return ordered_map(extract, files, workers)
