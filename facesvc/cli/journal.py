"""The journal of a batch run: what is done stays done, whatever kills the run.

JSON lines, appended by one process. The first holds the run's contract, each further one a file's path and all its
rows: a file is in it whole or not at all. A line is handed to the system before the next file is taken, so that
kill -9 loses nothing, and the disk is synced every SYNC_SECONDS, which is what a power failure can cost.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from time import monotonic
from typing import Any

from facesvc.cli.backends import View
from facesvc.cli.rows import Row
from facesvc.errors import RequestError
from facesvc.files import sync

FORMAT = "facesvc identify journal 1"
SYNC_SECONDS = 1.0


class Journal:
    """``count``: files in it. Locked against other processes while it is open."""

    def __init__(self, path: Path, contract: View, resume: bool = False) -> None:
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
            offset = len(lines.readline())
            for line in lines:
                entry = parse(line)
                if not isinstance(entry, dict) or entry.keys() != {"path", "rows"}:
                    self.file.truncate(offset)
                    return
                offset += len(line)
                self.count += 1
                yield entry["path"], entry["rows"]

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

    def _has_head(self, contract: View) -> bool:
        """Whether the first line is there, whole, and of this contract."""
        with self.path.open("rb") as lines:
            line = lines.readline()
        head = parse(line)
        if head is None and not line.endswith(b"\n"):
            return False  # empty, or killed while the first line was written
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise RequestError(f"{self.path} is no journal of facesvc identify")
        if changed := differences(head["contract"], contract):
            raise RequestError(f"{self.path} can't be resumed: {'; '.join(changed)}. --force starts over")
        return True

    def _write_head(self, contract: View) -> None:
        self.file.truncate(0)
        self._write({"format": FORMAT, "contract": contract})
        self._sync()
        sync(self.path.parent)

    def _write(self, value: dict[str, Any]) -> None:
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        while line:  # a raw write may take less than it was given
            line = line[self.file.write(line) :]

    def _sync(self) -> None:
        os.fsync(self.file.fileno())
        self.synced = monotonic()


def private(path: str, flags: int) -> int:
    """An opener of files that their owner alone may read."""
    return os.open(path, flags, 0o600)


def parse(line: bytes) -> Any:
    """The JSON value of a whole line; None for a torn one."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def differences(before: View, now: View) -> list[str]:
    """In words, what changed between two contracts."""
    changed = (key for key in {**before, **now} if before.get(key) != now.get(key))
    return [f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in changed]
