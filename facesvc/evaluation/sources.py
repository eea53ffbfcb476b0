"""What an evaluation is made over: which photographs of which folder, who is on them, and in which experiment."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facesvc.errors import RequestError
from facesvc.evaluation.datasets import Pair, Roles, Templates, assign, read_pairs, read_people
from facesvc.evaluation.experiments import Experiment, Question, over_folder, over_gallery, over_pairs
from facesvc.evaluation.verification import listed_files


@dataclass(frozen=True, slots=True)
class Source:
    """name: the data's, for the report; files: (n,) relative to ``folder``; subjects: (n,).
    With pairs the experiment is LFW's, with roles a gallery's, with neither all pairs."""

    name: str
    folder: Path
    files: Sequence[Path]
    subjects: Sequence[str]
    pairs: Sequence[Pair] | None = None
    roles: Roles | None = None

    def experiment(self, templates: Templates, ask: Question) -> Experiment:
        """The experiment over the templates of ``files``."""
        if self.pairs is not None:
            return over_pairs(templates, self.pairs, ask)
        if self.roles is not None:
            return over_gallery(templates, self.subjects, self.roles, ask)
        return over_folder(templates, self.subjects, ask)


def from_pairs(pairs: Path, images: Path) -> Source:
    """LFW's pair list over images/NAME/NAME_0001.jpg. Raises RequestError."""
    listed = read_pairs(pairs)
    files = listed_files(listed, images)
    return Source(images.resolve().name, images, files, [file.parent.name for file in files], pairs=listed)


def from_folder(folder: Path) -> Source:
    """All pairs of folder/<subject>/<photographs>. Raises RequestError."""
    people = read_people(folder)
    return Source(folder.resolve().name, folder, [p.file for p in people], [p.subject for p in people])


def from_gallery(gallery: Path, probes: Path | None, references: int, seed: int) -> Source:
    """gallery/<subject>/<photographs> searched for probes/<subject>/<photographs>, or, without ``probes``, split by
    hash into both, see ``people.assign``. Raises RequestError."""
    if probes is None:
        people = read_people(gallery)
        roles = assign(people, references, seed=seed)
        files, subjects = [p.file for p in people], [p.subject for p in people]
        return Source(gallery.resolve().name, gallery, files, subjects, roles=roles)
    enrolled, searched = (folder.resolve() for folder in (gallery, probes))
    if enrolled == searched:
        raise RequestError("the probes are the gallery itself: every search would find its own photograph")
    root = Path(os.path.commonpath([enrolled, searched]))
    parts = [(folder.relative_to(root), read_people(folder)) for folder in (enrolled, searched)]
    files = [part / labelled.file for part, people in parts for labelled in people]
    subjects = [labelled.subject for _, people in parts for labelled in people]
    first_probe = len(parts[0][1])
    roles = Roles(tuple(range(first_probe)), tuple(range(first_probe, len(files))))
    return Source(f"{enrolled.name} and {searched.name}", root, files, subjects, roles=roles)
