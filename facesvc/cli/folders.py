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
from typing import Any

from facesvc.cli.backend import Backend, View
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
from facesvc.folders import person_folders, walk
from facesvc.threads import ordered_map

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


ENROLLED, ALREADY, REJECTED = "enrolled", "already_enrolled", "rejected"


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
class Enroller:
    """Enrols one photograph at a time. Thread-safe. limit: largest file that is read, in bytes."""

    backend: Backend
    gallery: str
    face: str
    strict: bool
    limit: int

    def enrol(self, task: Task) -> View:
        """The outcome, with the photograph's path and subject. Raises what would meet every photograph."""
        try:
            photograph = task.source.read(self.limit)
            if hashlib.sha256(photograph).hexdigest() in task.known:
                outcome: View = {"status": ALREADY}
            else:
                outcome = self.backend.enrol(self.gallery, task.subject, photograph, self.face, self.strict)
        except FaceServiceError as error:
            if error.code not in photograph_codes():
                raise
            outcome = refusal(error)
        return {"path": shown(task.source.path), "subject": task.subject, **outcome}

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
            return frozenset(found["image_sha256"] for found in self.backend.references(self.gallery, subject))
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
    rejected: list[View] = field(default_factory=list)
    seconds: float = 0.0

    def run(self, everybody: People, workers: int, advance: Advance) -> None:
        """A name that can't be a subject's is its photographs' fault, and stops nobody else's."""
        start = perf_counter()
        with closing(ordered_map(self._enrol, self._tasks(everybody), workers)) as outcomes:
            for _, outcome in outcomes:
                self.counts[outcome["status"]] += 1
                if outcome["status"] == REJECTED:
                    self.rejected.append(outcome)
                advance()
        self.seconds = perf_counter() - start

    def _enrol(self, task: Task) -> View:
        if (fault := name_fault(task.subject)) is not None:
            return {"path": shown(task.source.path), "subject": task.subject, **refusal(fault)}
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
            "rejected": self.rejected,
        }

    def __str__(self) -> str:
        codes = Counter(outcome["code"] for outcome in self.rejected)
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


def refusal(error: FaceServiceError) -> View:
    return {"status": REJECTED, "code": error.code, "detail": error.detail}


def describe(result: View) -> str:
    """An outcome for a person."""
    if result["status"] == ENROLLED:
        return f"enrolled {result['path']} as {result['reference']}"
    return f"{result['code']} {result['path']}: {result['detail']}"


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
