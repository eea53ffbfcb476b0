"""Looks for label noise in a folder per person, and drafts a review of it; changes nothing.

    python -m training.clean people/ --output review.json

Suspected: folders that show one person (merge), photographs of somebody else than their folder says (drop), folders
that show no one person (exclude). People look at the evidence and edit the review before it is used.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from facesvc.config import Settings
from facesvc.core.types import Vectors
from facesvc.errors import FaceServiceError
from training.data import read_folder
from training.features import extract
from training.review import Review

Distances = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Limits:
    """Squared L2 of unit vectors, and shares. The defaults suit templates whose operating point is 1.1.

    same: below it two photographs show one person; identical: below it they are one photograph, re-encoded or cropped;
    merged: least share of two folders' cross pairs below ``same`` for which they are one person's, beside ``copies``,
    the least number of photographs that stand in both folders; alien: where the median distance of a photograph to the
    others of its folder begins that no photograph of one person has; consistent: least share of a folder's own pairs
    below ``same``.
    """

    same: float = 1.1
    identical: float = 0.05
    merged: float = 0.3
    copies: int = 2
    alien: float = 1.5
    consistent: float = 0.4


@dataclass(frozen=True, slots=True)
class SharedPerson:
    """Two folders that probably show one person. below: share of their cross pairs below ``same``; median: of the
    cross pairs' distances; copies: photographs of the smaller side that stand in the other folder too."""

    first: str
    second: str
    below: float
    median: float
    copies: int


@dataclass(frozen=True, slots=True)
class Stranger:
    """A photograph that is probably of somebody else. median: distance to the others of its subject; nearest: the
    other subject whose photographs are nearest, by their median distance ``nearest_median``."""

    file: str
    subject: str
    median: float
    nearest: str
    nearest_median: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """A folder that shows no one person. below: share of its own pairs below ``same``."""

    subject: str
    photographs: int
    below: float


@dataclass(frozen=True, slots=True)
class Findings:
    shared: tuple[SharedPerson, ...]
    strangers: tuple[Stranger, ...]
    mixtures: tuple[Mixture, ...]

    def review(self) -> Review:
        return Review(
            merge=tuple((pair.first, pair.second) for pair in self.shared),
            drop=tuple(stranger.file for stranger in self.strangers),
            exclude=tuple(mixture.subject for mixture in self.mixtures),
        )


def find(vectors: Vectors, subjects: NDArray[np.str_], files: Sequence[str], limits: Limits = Limits()) -> Findings:
    """vectors: (n 128) float32, unit length; subjects: (n,) who each is said to be; files: n names.

    Folders that shared persons link count as one person when strangers and mixtures are looked for. Each list has the
    clearest case first.
    """
    members = {str(name): np.flatnonzero(subjects == name) for name in np.unique(subjects)}
    shared = _shared(vectors, members, limits)
    names = Review(merge=tuple((pair.first, pair.second) for pair in shared)).names()
    people: dict[str, NDArray[np.intp]] = {}
    for name, own in members.items():
        person = names.get(name, name)
        people[person] = np.concatenate([people[person], own]) if person in people else own
    mixtures = _mixtures(vectors, people, limits)
    mixed = {mixture.subject for mixture in mixtures}
    settled = {name: own for name, own in people.items() if name not in mixed}
    return Findings(shared, _strangers(vectors, settled, files, limits), mixtures)


def distances(first: Vectors, second: Vectors) -> Distances:
    """(n d), (m d), unit length -> (n m) squared L2."""
    return np.maximum(2 - 2 * first @ second.T, 0)


def _shared(vectors: Vectors, members: Mapping[str, NDArray[np.intp]], limits: Limits) -> tuple[SharedPerson, ...]:
    found, names = [], sorted(members)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            cross = distances(vectors[members[first]], vectors[members[second]])
            is_copied = cross < limits.identical
            copies = int(min(is_copied.any(0).sum(), is_copied.any(1).sum()))
            below = float((cross < limits.same).mean())
            if below >= limits.merged or copies >= limits.copies:
                found.append(SharedPerson(first, second, below, float(np.median(cross)), copies))
    return tuple(sorted(found, key=lambda pair: -pair.below))


def _mixtures(vectors: Vectors, people: Mapping[str, NDArray[np.intp]], limits: Limits) -> tuple[Mixture, ...]:
    found = []
    for name, own in people.items():
        if len(own) < 3:  # of two, nobody can say which is right: that is for the strangers' list
            continue
        within = distances(vectors[own], vectors[own])[np.triu_indices(len(own), 1)]
        if (below := float((within < limits.same).mean())) < limits.consistent:
            found.append(Mixture(name, len(own), below))
    return tuple(sorted(found, key=lambda mixture: mixture.below))


def _strangers(
    vectors: Vectors, people: Mapping[str, NDArray[np.intp]], files: Sequence[str], limits: Limits
) -> tuple[Stranger, ...]:
    found = []
    for name, own in people.items():
        medians = _medians_to_others(vectors[own])
        for index, median in zip(own[medians > limits.alien], medians[medians > limits.alien], strict=True):
            others = {
                o: float(np.median(distances(vectors[[index]], vectors[p]))) for o, p in people.items() if o != name
            }
            nearest = min(others, key=others.__getitem__, default="")
            found.append(Stranger(files[int(index)], name, float(median), nearest, others.get(nearest, 4.0)))
    return tuple(sorted(found, key=lambda stranger: -stranger.median))


def _medians_to_others(vectors: Vectors) -> Distances:
    """(n d) -> (n,): each one's median distance to the others; 0 where there are no two others to compare with."""
    if len(vectors) < 3:
        return np.zeros(len(vectors), np.float32)
    within = distances(vectors, vectors)
    np.fill_diagonal(within, np.nan)
    return np.nanmedian(within, axis=1)


def tables(findings: Findings) -> list[Table]:
    shared = _table("Folders that may show one person", findings.shared)
    strangers = _table("Photographs that may show somebody else", findings.strangers)
    return [shared, strangers, _table("Folders that show no one person", findings.mixtures)]


def _table(title: str, rows: Sequence[SharedPerson | Stranger | Mixture]) -> Table:
    table = Table(title=f"{title}: {len(rows)}", title_justify="left")
    for column in asdict(rows[0]) if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in asdict(row).values()))
    return table


def look(folder: Path, pack: str, features: Path | None, workers: int) -> Findings:
    """Embeds the folder's photographs, or takes them from the features file, and finds what is suspect."""
    settings, photographs = Settings(workers=workers), read_folder(folder)
    with tempfile.TemporaryDirectory() as scratch:
        made = extract(photographs, features or Path(scratch) / "features.npz", settings, [pack])
    return find(made.unit(pack), made.subjects, made.files.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder per person")
    parser.add_argument("--pack", default="sface", help="a pack of one network, whose templates are compared")
    parser.add_argument("--features", type=Path, default=None, help="keep the vectors here; reused while they fit")
    parser.add_argument("--output", type=Path, default=None, help="write the drafted review (JSON) here")
    parser.add_argument("--json", action="store_true", help="print the evidence as JSON")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    try:
        findings = look(arguments.folder, arguments.pack, arguments.features, arguments.workers)
    except FaceServiceError as error:
        sys.exit(f"{error.code}: {error.detail}")
    if arguments.output:
        arguments.output.write_text(findings.review().to_json())
    show(asdict(findings) if arguments.json else tables(findings))


def show(result: dict[str, Any] | list[Table]) -> None:
    if isinstance(result, dict):
        print(json.dumps(result, indent=2))
    else:
        Console().print(*result)


if __name__ == "__main__":
    main()
