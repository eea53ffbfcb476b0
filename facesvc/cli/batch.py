"""The batch behind `facesvc identify`: paths in, rows out, in order, resumable.

The journal of a batch run: what is done stays done, whatever kills the run.

JSON lines, appended by one process. The first holds the run's contract, each further one a file's path and all its
rows: a file is in it whole or not at all. A line is handed to the system before the next file is taken, so that
kill -9 loses nothing, and the disk is synced every SYNC_SECONDS, which is what a power failure can cost.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from facesvc.cli.backend import Backend
from facesvc.cli.console import Advance, say
from facesvc.cli.folders import read_photograph, shown
from facesvc.cli.rows import Row, Tally, export, face_rows, failed_row, photograph_codes
from facesvc.errors import FaceServiceError, RequestError
from facesvc.files import PRIVATE, json_line, parse_line, parse_lines, sync
from facesvc.threads import ordered_map

FORMAT = "facesvc identify journal 1"
Contract = dict[str, Any]
"""What must be the same in all runs that one journal is of, in words and JSON values."""
SYNC_SECONDS = 1.0


class Journal:
    """``count``: files in it. Locked against other processes while it is open."""

    def __init__(self, path: Path, contract: Contract, resume: bool = False) -> None:
        """Opens the journal at ``path``; new, or with ``resume`` one that may be there, of the same contract.

        Raises RequestError where it is of another contract, in use, or can't be written.
        """
        self.path, self.count, self.synced = path, 0, monotonic()
        try:
            self.file = FileIO(path, "a+" if resume else "x+", opener=private)
        except OSError as error:
            raise RequestError(f"journal {path}: {error.strerror}") from error
        try:
            self._lock()
            if not self._has_head(contract):
                self._write_head(contract)
        except BaseException:
            self.file.close()
            raise

    def replay(self) -> Iterator[tuple[str, list[Row]]]:
        """(path, rows) of the files done, in order. A torn line at the end, and what follows it, is cut off."""
        self.count = 0
        with self.path.open("rb") as lines:
            whole = len(lines.readline())
            for entry, end in parse_lines(lines, whole):
                if not isinstance(entry, dict) or entry.keys() != {"path", "rows"}:
                    break
                whole = end
                self.count += 1
                yield entry["path"], entry["rows"]
        self.file.truncate(whole)

    def append(self, path: str, rows: list[Row]) -> None:
        self._write({"path": path, "rows": rows})
        self.count += 1
        if monotonic() - self.synced > SYNC_SECONDS:
            self._sync()

    def remove(self) -> None:
        """Closes the journal and deletes it."""
        self.path.unlink()
        self.file.close()

    def close(self) -> None:
        if not self.file.closed:
            self._sync()
            self.file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RequestError(f"another run is writing {self.path}") from error

    def _has_head(self, contract: Contract) -> bool:
        """Return whether the first line is there, whole and of this contract. Raises RequestError for another one."""
        with self.path.open("rb") as lines:
            line = lines.readline()
        head = parse_line(line)
        if head is None and not line.endswith(b"\n"):
            return False  # empty, or killed while the first line was written
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise RequestError(f"{self.path} is no journal of facesvc identify")
        if changed := differences(head["contract"], contract):
            raise RequestError(f"{self.path} can't be resumed: {'; '.join(changed)}. --force starts over")
        return True

    def _write_head(self, contract: Contract) -> None:
        self.file.truncate(0)
        self._write({"format": FORMAT, "contract": contract})
        self._sync()
        sync(self.path.parent)

    def _write(self, value: dict[str, Any]) -> None:
        line = json_line(value)
        while line:  # a raw write may take less than it was given
            line = line[self.file.write(line) :]

    def _sync(self) -> None:
        os.fsync(self.file.fileno())
        self.synced = monotonic()


def private(path: str, flags: int) -> int:
    """An opener of files that their owner alone may read."""
    return os.open(path, flags, PRIVATE)


def differences(before: Contract, now: Contract) -> list[str]:
    """In words, what changed between two contracts."""
    changed = (key for key in {**before, **now} if before.get(key) != now.get(key))
    return [f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in changed]


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

    def contract(self) -> Contract:
        """Return what must be the same when a run is continued."""
        asked, model = self.question, self.backend.model(self.question.gallery)
        is_default = asked.rule.threshold is None and asked.rule.target_fmr is None
        return {
            "gallery": asked.gallery,
            "top_k": asked.top_k,
            "face": asked.face,
            "threshold": model.threshold if is_default else asked.rule.threshold,
            "target FMR": asked.rule.target_fmr,
            "template version": model.template_version,
            "calibration": model.calibration.id if model.calibration else None,
        }

    def rows(self, path: str) -> list[Row]:
        """Return the rows of one file; a failure is one, too. Raises what would meet every file."""
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
