"""The templates of a data set's photographs, with those that failed to enrol kept in the count."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import Extractor
from facesvc.core.types import DIMENSION, FaceChoice, Vectors
from facesvc.errors import FaceServiceError
from facesvc.pipeline.extract import extract_files


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """files (n,): names relative to ``folder``; vectors: (n 128) float32 and landmarks: (n 5 2) float32, px of the
    photograph as sent, both NaN where it failed to enrol; failures: file -> error code."""

    folder: Path
    files: tuple[Path, ...]
    vectors: Vectors
    landmarks: NDArray[np.float32]
    failures: Mapping[Path, str]


def enrol_files(
    extractor: Extractor,
    folder: Path,
    files: Sequence[Path],
    workers: int,
    choice: FaceChoice = FaceChoice.PROMINENT,
    advance: Callable[[], object] = lambda: None,
) -> Templates:
    """Runs every file (relative to ``folder``) once through the pipeline; ``advance`` is called after each."""
    vectors = np.full((len(files), DIMENSION), np.nan, np.float32)
    landmarks = np.full((len(files), 5, 2), np.nan, np.float32)
    failures: dict[Path, str] = {}
    results = extract_files(extractor, [folder / file for file in files], choice, workers)
    for i, (_, result) in enumerate(results):
        if isinstance(result, FaceServiceError):
            failures[files[i]] = result.code
        else:
            vectors[i] = result.samples[0].template.vector
            landmarks[i] = result.samples[0].face.landmarks
        advance()
    return Templates(folder, tuple(files), vectors, landmarks, failures)
