"""Labelled photographs in a folder per person, and who of them is left out of a gallery."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facesvc.errors import RequestError

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".avif", ".gif", ".bmp"))
"""Endings of the formats that ``facesvc.pipeline.decode`` takes."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A photograph, relative to its data set's folder, and who is on it."""

    file: Path
    subject: str


def read_people(folder: Path) -> list[Labelled]:
    """The photographs in folder/<subject>/, sorted; hidden ones are passed over. Raises RequestError for none."""
    people = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [
        Labelled(file.relative_to(folder), person.name)
        for person in people
        for file in sorted(person.iterdir())
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
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
