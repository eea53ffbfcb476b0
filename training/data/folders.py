"""Data sets: a folder per person. (Pair lists are ``facesvc.evaluation.datasets``.)"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from facesvc.errors import RequestError
from facesvc.pipeline.folders import person_folders, photographs_in
from training.data.review import Review, read_review


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file and the person it is said to show."""

    file: Path
    subject: str

    @property
    def name(self) -> str:
        """``folder/file``: the same wherever the data set lies."""
        return f"{self.file.parent.name}/{self.file.name}"


def read_folder(folder: Path, exclude: Collection[str] = (), review: Path | None = None) -> list[Photograph]:
    """The photographs in folder/<subject>/, sorted by folder and file name; hidden files are passed over.

    exclude: subjects left out; review: a JSON file as ``training.data.review.Review`` describes it, applied too: with
    its merges, photographs of several folders are of one subject.
    Raises RequestError where the folder or the review can't be read, or no photograph is left.
    """
    decided = read_review(review) if review else Review()
    left_out, dropped, names = {*exclude, *decided.exclude}, set(decided.drop), decided.names()
    kept = [
        photograph
        for person in person_folders(folder)
        if person.name not in left_out
        for file in photographs_in(person)
        if (photograph := Photograph(file, names.get(person.name, person.name))).name not in dropped
    ]
    if not kept:
        raise RequestError(f"{folder} holds no photograph in a folder per person")
    return kept
