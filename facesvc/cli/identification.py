"""The batch behind `facesvc identify`: paths in, rows out, in order, resumable."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facesvc.cli.backends import Backend, View
from facesvc.cli.console import say
from facesvc.cli.exports import export
from facesvc.cli.inputs import read_photograph, shown
from facesvc.cli.journal import Journal
from facesvc.cli.progress import Advance
from facesvc.cli.rows import Row, face_rows, failed_row, photograph_codes
from facesvc.cli.tally import Tally
from facesvc.errors import FaceServiceError, RequestError
from facesvc.threads import ordered_map

if TYPE_CHECKING:
    from facesvc.core.decide import DecisionRule

Show = Callable[[int], AbstractContextManager[Advance]]
"""Opens the progress display of a run that has so many files behind it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about each photograph."""

    gallery: str
    top_k: int
    face: str
    rule: "DecisionRule"


class Identifier:
    """Turns a path into rows. Thread-safe.

    limit: largest file that is read, in bytes; workers: photographs in work at once.
    """

    def __init__(self, backend: Backend, question: Question, limit: int, workers: int) -> None:
        self.backend, self.question, self.limit, self.workers = backend, question, limit, workers
        self.own_faults = photograph_codes()

    def contract(self) -> View:
        """What must be the same when a run is continued."""
        asked, model = self.question, self.backend.model(self.question.gallery)
        is_default = asked.rule.threshold is None and asked.rule.target_fmr is None
        return {
            "gallery": asked.gallery,
            "top_k": asked.top_k,
            "face": asked.face,
            "threshold": model["threshold"] if is_default else asked.rule.threshold,
            "target FMR": asked.rule.target_fmr,
            "template version": model["template_version"],
            "calibration": (model["calibration"] or {}).get("id"),
        }

    def rows(self, path: str) -> list[Row]:
        """The rows of one file, its failure among them. Raises what would meet every file."""
        asked, name = self.question, shown(path)
        try:
            photograph = read_photograph(path, self.limit)
            answer = self.backend.identify(photograph, asked.gallery, asked.top_k, asked.face, asked.rule)
        except FaceServiceError as error:
            if error.code not in self.own_faults:
                raise
            return [failed_row(name, error)]
        except Exception as error:
            logger.exception("unexpected failure at %s", name)
            return [failed_row(name, FaceServiceError(f"unexpected {type(error).__name__}"))]
        return face_rows(name, answer)

    def run(self, paths: Iterator[str], tally: Tally) -> Iterator[tuple[str, list[Row]]]:
        """(path, rows) in the order of ``paths``, counted in ``tally``."""
        with closing(ordered_map(self.rows, paths, self.workers)) as results:
            for path, rows in results:
                tally.add(rows)
                yield shown(path), rows


def skip_done(journal: Journal, paths: Iterator[str], tally: Tally) -> None:
    """Moves ``paths`` past the files that the journal holds, and counts those.

    Raises RequestError where they are not the first of ``paths``, in the same order.
    """
    for done, rows in journal.replay():
        path = next(paths, None)
        if path is None or shown(path) != done:
            found = f"is {shown(path)!r}" if path is not None else "is missing"
            raise RequestError(
                f"{journal.path} can't be resumed: file {journal.count} was {done!r}, {found}. "
                "Give the paths of the interrupted run, or --force to start over"
            )
        tally.add(rows)
    tally.resumed_faces = tally.faces


def journal_of(output: Path) -> Path:
    return output.with_name(output.name + ".partial")


def run_to_file(
    identifier: Identifier, paths: Iterator[str], output: Path, resume: bool, tally: Tally, show: Show
) -> None:
    """Runs through the journal into ``output``. Whatever stops it leaves a journal that ``resume`` continues."""
    with closing(Journal(journal_of(output), identifier.contract(), resume)) as journal:
        skip_done(journal, paths, tally)
        try:
            with show(tally.files) as advance:
                for path, rows in identifier.run(paths, tally):
                    journal.append(path, rows)
                    advance()
            export((row for _, rows in journal.replay() for row in rows), output)
        except (KeyboardInterrupt, FaceServiceError, OSError) as error:
            leave(journal)
            if isinstance(error, OSError):  # such as a full disk
                raise RequestError(f"{output}: {error.strerror}") from error
            raise
        journal.remove()


def leave(journal: Journal) -> None:
    """Tells what an interrupted run leaves; a journal without a file in it is nothing to continue."""
    if not journal.count:
        journal.remove()
        return
    say(f"stopped after {journal.count} files, kept in {journal.path}: the same command with --resume continues")
