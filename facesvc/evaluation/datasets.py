"""Labelled photographs: a folder per person, pair lists, and the templates made of them.

Pair lists in the format of Labeled Faces in the Wild (View 2).
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import Extractor
from facesvc.core.types import DIMENSION, FaceChoice, Vectors
from facesvc.errors import FaceServiceError, RequestError
from facesvc.pipeline.extract import extract_files
from facesvc.pipeline.folders import person_folders, photographs_in


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs (relative to the image folder), whether one person is on both, and the pair's fold."""

    first: Path
    second: Path
    mated: bool
    fold: int


def read_pairs(file: Path) -> list[Pair]:
    """Reads ``pairs.txt``: a head line "folds n" (or "n", one fold), then for each fold n mated lines
    ``name i j`` and n non-mated ones ``name i name j``; photographs are ``name/name_0001.jpg``.

    Source: http://vis-www.cs.umass.edu/lfw/README.txt. Raises RequestError for anything else.
    """
    lines = [line.split("\t") if "\t" in line else line.split() for line in file.read_text().splitlines() if line]
    try:
        head, *rows = lines
        folds, each = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
        if len(rows) != 2 * folds * each:
            raise ValueError(f"{len(rows)} pairs where the head line promises {2 * folds * each}")
        return [_pair(row, fold=i // (2 * each)) for i, row in enumerate(rows)]
    except ValueError as error:
        raise RequestError(f"{file} is not an LFW pair list: {error}") from error


def _pair(row: list[str], fold: int) -> Pair:
    if len(row) == 3:
        return Pair(_photograph(row[0], row[1]), _photograph(row[0], row[2]), True, fold)
    if len(row) == 4:
        return Pair(_photograph(row[0], row[1]), _photograph(row[2], row[3]), False, fold)
    raise ValueError(f"a line of {len(row)} columns: {' '.join(row)!r}")


def _photograph(name: str, number: str) -> Path:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain name")
    return Path(name) / f"{name}_{int(number):04d}.jpg"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A photograph, relative to its data set's folder, and who is on it."""

    file: Path
    subject: str


def read_people(folder: Path) -> list[Labelled]:
    """Return the photographs in folder/<subject>/, sorted. Raises RequestError where there are none."""
    found = [
        Labelled(file.relative_to(folder), person.name)
        for person in person_folders(folder)
        for file in photographs_in(person)
    ]
    if not found:
        raise RequestError(f"{folder} holds no photograph in a folder per person")
    return found


@dataclass(frozen=True, slots=True)
class Roles:
    """What each photograph of one folder does in a 1:N experiment, by its position: those that are ``enrolled``,
    and the ``probes`` searched for, of people in the gallery and of others."""

    enrolled: tuple[int, ...]
    probes: tuple[int, ...]


def assign(people: Sequence[Labelled], references: int = 1, left_out: float = 0.2, seed: int = 0) -> Roles:
    """Splits one folder by hash, so that nobody's role depends on who else is there.

    About ``left_out`` of the subjects are strangers: all photographs of theirs are probes without a mate. Of each
    other subject the first ``references`` photographs by hash are enrolled and the rest are probes.
    Raises RequestError where that leaves no gallery or no probes.
    """
    by_subject: dict[str, list[int]] = defaultdict(list)
    for i, labelled in enumerate(people):
        by_subject[labelled.subject].append(i)
    enrolled: list[int] = []
    for subject, photographs in by_subject.items():
        if _position(f"{seed}/{subject}") >= left_out:
            by_hash = sorted(photographs, key=lambda i: _position(f"{seed}/{people[i].file.as_posix()}"))
            enrolled += by_hash[:references]
    probes = sorted(set(range(len(people))) - set(enrolled))
    if not enrolled or not probes:
        raise RequestError(f"{len(people)} photographs of {len(by_subject)} people are too few for a gallery")
    return Roles(tuple(sorted(enrolled)), tuple(probes))


def _position(text: str) -> float:
    """Uniform in [0, 1): the first 53 bits of SHA-256."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / 2**53


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
