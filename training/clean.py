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
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from facesvc.config import Settings
from facesvc.core.types import Vectors
from facesvc.errors import FaceServiceError
from training.data.folders import read_folder
from training.data.review import Review
from training.features import extract

Distances = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Limits:
    """Squared L2 of unit vectors, and shares. The defaults suit templates whose operating point is 1.1.

    same: below it two photographs show one person; near: below it surely, not only somebody alike; identical: below
    it they are one photograph, re-encoded or cropped.
    merged: least share of two folders' cross pairs below ``same`` for which all of both is one person;
    overlap: least share of them below ``near`` for which some of both are; the folders are mixed where ``parts``
    photographs or more of either are in such pairs (fewer are strangers in their folder), or ``copies`` in both.
    alien: median distance of a photograph to the others of its folder, from which on it shows somebody else;
    consistent: least share of a folder's own pairs below ``same`` (photographs of one person in the wild can differ).

    ``near`` and ``overlap`` were chosen on 208 people in the wild, where five pairs of folders with known mistakes had
    6.7 % of their cross pairs and more below 0.9, and no other pair more than 0.6 %.
    """

    same: float = 1.1
    near: float = 0.9
    identical: float = 0.05
    merged: float = 0.5
    overlap: float = 0.03
    parts: int = 3
    copies: int = 2
    alien: float = 1.5
    consistent: float = 0.2


@dataclass(frozen=True, slots=True)
class SharedPerson:
    """Two folders that show one person, in all photographs ("same": merge them), in a part of both besides somebody
    else ("mixed"), or in all of one and a photograph or two of the other ("strays"). below, near: shares of their
    cross pairs below ``same`` and ``near``; median: of the cross pairs' distances; copies: photographs in both."""

    first: str
    second: str
    verdict: Literal["same", "mixed", "strays"]
    below: float
    near: float
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
            merge=tuple((pair.first, pair.second) for pair in self.shared if pair.verdict == "same"),
            drop=tuple(stranger.file for stranger in self.strangers),
            exclude=tuple(sorted(self.tangled() | {mixture.subject for mixture in self.mixtures})),
        )

    def tangled(self) -> set[str]:
        """The subjects whose folders are mixed with another."""
        return {name for pair in self.shared if pair.verdict == "mixed" for name in (pair.first, pair.second)}


def find(vectors: Vectors, subjects: NDArray[np.str_], files: Sequence[str], limits: Limits = Limits()) -> Findings:
    """vectors: (n 128) float32, unit length; subjects: (n,) who each is said to be; files: n names.

    Folders that are merged count as one person when strangers and mixtures are looked for, and those that are
    mixed with another are passed over, since nobody can say whose they are. Each list has the clearest case first.
    """
    members = {str(name): np.flatnonzero(subjects == name) for name in np.unique(subjects)}
    shared = _shared(vectors, members, limits)
    people = _people(members, shared)
    mixtures = _mixtures(vectors, people, limits)
    settled = {name: own for name, own in people.items() if name not in {mixture.subject for mixture in mixtures}}
    return Findings(shared, _strangers(vectors, settled, files, limits), mixtures)


def _people(members: Mapping[str, NDArray[np.intp]], shared: tuple[SharedPerson, ...]) -> dict[str, NDArray[np.intp]]:
    findings = Findings(shared, (), ())
    names, tangled = findings.review().names(), findings.tangled()
    people: dict[str, NDArray[np.intp]] = {}
    for name, own in members.items():
        if name not in tangled:
            person = names.get(name, name)
            people[person] = np.concatenate([people[person], own]) if person in people else own
    return people


def distances(first: Vectors, second: Vectors) -> Distances:
    """(n d), (m d), unit length -> (n m) squared L2."""
    return np.maximum(2 - 2 * first @ second.T, 0)


def _shared(vectors: Vectors, members: Mapping[str, NDArray[np.intp]], limits: Limits) -> tuple[SharedPerson, ...]:
    pairs = (
        _compare(first, second, distances(vectors[members[first]], vectors[members[second]]), limits)
        for first, second in combinations(sorted(members), 2)
    )
    return tuple(sorted((pair for pair in pairs if pair), key=lambda pair: -pair.near))


def _compare(first: str, second: str, cross: Distances, limits: Limits) -> SharedPerson | None:
    """What two folders share, by the distances between their photographs (n m); None where it is nothing."""
    below, near = float((cross < limits.same).mean()), float((cross < limits.near).mean())
    copies = _involved(cross < limits.identical)
    if below >= limits.merged:
        verdict = "same"
    elif (near >= limits.overlap and _involved(cross < limits.near) >= limits.parts) or copies >= limits.copies:
        verdict = "mixed"
    elif near >= limits.overlap:
        verdict = "strays"
    else:
        return None
    return SharedPerson(first, second, verdict, below, near, float(np.median(cross)), copies)


def _involved(pairs: NDArray[np.bool_]) -> int:
    """Photographs that are in any of the marked pairs (n m), on the side that has fewer."""
    return int(min(pairs.any(0).sum(), pairs.any(1).sum()))


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
    """A table a kind of finding, where there are any."""
    kinds = {
        "Folders that may show one person": findings.shared,
        "Photographs that may show somebody else": findings.strangers,
        "Folders that show no one person": findings.mixtures,
    }
    return [_table(title, rows) for title, rows in kinds.items() if rows]


def _table(title: str, rows: Sequence[SharedPerson | Stranger | Mixture]) -> Table:
    table = Table(title=f"{title}: {len(rows)}", title_justify="left")
    for column in asdict(rows[0]):
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
        Console().print(*result or ["nothing suspicious found"])


if __name__ == "__main__":
    main()
