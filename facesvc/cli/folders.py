"""Enrolment file by file: what became of each photograph, and of a whole folder of people.

Photographs by name: files, folders, patterns and lists, in an order that is the same on every run.
"""

import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from facesvc.cli.backend import Backend
from facesvc.cli.console import Advance, say
from facesvc.cli.rows import numbers, photograph_codes
from facesvc.core.names import require_name
from facesvc.errors import (
    FaceServiceError,
    FileUnreadable,
    GalleryExists,
    GalleryNotFound,
    ImageTooLarge,
    RequestError,
    SubjectNotFound,
)
from facesvc.pipeline.folders import person_folders, walk
from facesvc.threads import ordered_map

if TYPE_CHECKING:
    from facesvc.schemas.galleries import EnrolledPhotograph, RejectedPhotograph

STDIN = "-"


def expand(arguments: Iterable[str], null: bool = False) -> Iterator[str]:
    """The files that ``arguments`` mean, in their order, lazily.

    A folder stands for the photographs below it, a pattern that is no file's name for what it matches, sorted,
    ``-`` for the paths listed on stdin, one a line (``null``: separated by zero bytes). Paths that do not exist
    are passed on: reading them fails with their name.
    """
    for argument in arguments:
        if argument == STDIN:
            for path in read_list(null):
                yield from walk(path)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            for path in matches(argument):
                yield from walk(path)
        else:
            yield from walk(argument)


def matches(pattern: str) -> list[str]:
    """Sorted paths that match. Raises RequestError where none does."""
    found = sorted(glob.iglob(pattern, recursive=True))
    if not found:
        raise RequestError(f"nothing matches {pattern}")
    return found


def read_list(null: bool = False) -> Iterator[str]:
    """Paths from stdin, as they come; empty lines are passed over."""
    end = b"\0" if null else b"\n"
    rest = b""
    while block := os.read(sys.stdin.fileno(), 65536):  # what is there: the list may still be being written
        *whole, rest = (rest + block).split(end)
        yield from (os.fsdecode(path.rstrip(b"\r") if not null else path) for path in whole if path.strip())
    if rest.strip():
        yield os.fsdecode(rest)


def read_photograph(path: str, limit: int) -> bytes:
    """The file's bytes; ``-`` reads stdin. Raises FileUnreadable, and ImageTooLarge above ``limit`` bytes."""
    try:
        if path == STDIN:
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(path).open("rb") as stream:
                content = stream.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise FileUnreadable(getattr(error, "strerror", None) or str(error)) from error
    if len(content) > limit:  # no stranger's file is read into memory whole to be refused afterwards
        raise ImageTooLarge(f"the file has more than {limit} bytes")
    return content


def shown(path: str) -> str:
    """``path`` as text that can be written as UTF-8: bytes that are none appear as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


ENROLLED: Final = "enrolled"
ALREADY: Final = "already_enrolled"
REJECTED: Final = "rejected"


@dataclass(frozen=True, slots=True)
class Source:
    """A photograph, unread. path: what it is called; read: its bytes, of which it takes at most so many."""

    path: str
    read: Callable[[int], bytes]

    @classmethod
    def file(cls, path: str) -> "Source":
        return cls(path, partial(read_photograph, path))


People = Iterator[tuple[str, Iterable[Source]]]
"""Subjects with their photographs."""


@dataclass(frozen=True, slots=True)
class Task:
    """A photograph to enrol. known: SHA-256 of the subject's references, as hexadecimal digits."""

    subject: str
    source: Source
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photograph. result: None where the subject has a reference of it already."""

    path: str
    subject: str
    result: "EnrolledPhotograph | RejectedPhotograph | None"

    @property
    def status(self) -> str:
        return self.result.status if self.result else ALREADY

    @property
    def code(self) -> str:
        """Code of the error that the photograph was rejected for; empty where it was not."""
        return self.result.code if self.result and self.result.status == REJECTED else ""

    def as_json(self) -> dict[str, Any]:
        """Return path and subject with the fields of the result, as JSON values."""
        result = self.result.model_dump(mode="json") if self.result else {"status": ALREADY}
        return {"path": self.path, "subject": self.subject, **result}

    def __str__(self) -> str:
        if self.result and self.result.status == REJECTED:
            return f"{self.result.code} {self.path}: {self.result.detail}"
        return f"enrolled {self.path} as {self.result.reference}" if self.result else f"{ALREADY} {self.path}"


@dataclass(frozen=True, slots=True)
class Enroller:
    """Enrols one photograph at a time. Thread-safe. limit: largest file that is read, in bytes."""

    backend: Backend
    gallery: str
    face: str
    strict: bool
    limit: int

    def enrol(self, task: Task) -> Outcome:
        """Enrol one photograph. Raises what would meet every photograph."""
        try:
            photograph = task.source.read(self.limit)
            if hashlib.sha256(photograph).hexdigest() in task.known:
                result = None
            else:
                result = self.backend.enrol(self.gallery, task.subject, photograph, self.face, self.strict)
        except FaceServiceError as error:
            if error.code not in photograph_codes():
                raise
            result = refusal(error)
        return Outcome(shown(task.source.path), task.subject, result)

    def ensure_gallery(self) -> None:
        """Makes the gallery if it is new, and says so: its name may be a slip."""
        try:
            self.backend.gallery(self.gallery)
        except FaceServiceError as error:
            if error.code != GalleryNotFound.code:
                raise
            self._create_gallery()

    def _create_gallery(self) -> None:
        try:
            self.backend.create_gallery(self.gallery)
            say(f"gallery {self.gallery} created")
        except FaceServiceError as error:
            if error.code != GalleryExists.code:  # another process was faster
                raise

    def known(self, subject: str) -> frozenset[str]:
        """SHA-256 of the photographs that the subject has references of."""
        try:
            return frozenset(found.image_sha256 for found in self.backend.references(self.gallery, subject))
        except FaceServiceError as error:
            if error.code != SubjectNotFound.code:
                raise
            return frozenset()


@dataclass(slots=True)
class FolderEnrolment:
    """A run over many people's photographs, and what came of it."""

    enroller: Enroller
    subjects: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    def run(self, everybody: People, workers: int, advance: Advance) -> None:
        """A name that can't be a subject's is its photographs' fault, and stops nobody else's."""
        start = perf_counter()
        with closing(ordered_map(self._enrol, self._tasks(everybody), workers)) as outcomes:
            for _, outcome in outcomes:
                self.counts[outcome.status] += 1
                if outcome.status == REJECTED:
                    self.rejected.append(outcome)
                advance()
        self.seconds = perf_counter() - start

    def _enrol(self, task: Task) -> Outcome:
        if (fault := name_fault(task.subject)) is not None:
            return Outcome(shown(task.source.path), task.subject, refusal(fault))
        return self.enroller.enrol(task)

    def _tasks(self, everybody: People) -> Iterator[Task]:
        for subject, sources in everybody:
            self.subjects += 1
            known = frozenset() if name_fault(subject) else self.enroller.known(subject)
            for source in sources:
                yield Task(subject, source, known)

    @property
    def summary(self) -> dict[str, Any]:
        return {
            "gallery": self.enroller.gallery,
            "subjects": self.subjects,
            "photographs": self.counts.total(),
            **{status: self.counts[status] for status in (ENROLLED, ALREADY)},
            "rejected": [outcome.as_json() for outcome in self.rejected],
        }

    def __str__(self) -> str:
        codes = Counter(outcome.code for outcome in self.rejected)
        text = f"{self.subjects} subjects, {self.counts.total()} photographs: {self.counts[ENROLLED]} enrolled"
        already = f", {self.counts[ALREADY]} enrolled before" if self.counts[ALREADY] else ""
        rejected = f", {len(self.rejected)} rejected ({numbers(codes)})" if codes else ""
        rate = self.counts.total() / self.seconds if self.seconds else 0.0
        return f"{text}{already}{rejected}; {rate:.1f} photographs/s"


def name_fault(subject: str) -> RequestError | None:
    """Why this can't be a subject's id, if it can't."""
    try:
        require_name(subject)
    except RequestError as error:
        return error
    return None


def refusal(error: FaceServiceError) -> "RejectedPhotograph":
    """Return the result of a photograph that ``error`` is about."""
    from facesvc.schemas.galleries import RejectedPhotograph

    return RejectedPhotograph.of(error)


def folder_people(folder: Path) -> People:
    """DIR/<subject>/<photographs>. Raises RequestError where there are no folders."""
    for person in people(folder):
        yield shown(person.name), map(Source.file, walk(str(person)))


def people(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, sorted. Raises RequestError where there are none."""
    found = person_folders(folder)
    if not found:
        raise RequestError(f"{folder} has no folders: expected {folder}/<subject>/<photographs>")
    return found


def count_photographs(folder: Path) -> int:
    return sum(1 for person in people(folder) for _ in walk(str(person)))
