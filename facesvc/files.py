"""Files that are whole or not there at all, that survive a power failure, and JSON lines whose end may be torn."""

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

PRIVATE, SHARED = 0o600, 0o666
"""Modes of new files: for their owner alone, or for whom the process's umask leaves them to."""
UNFINISHED, REPLACED = ".build-", ".old-"
"""Prefixes of folders that are being filled, and that are being replaced."""


def sync(path: Path) -> None:
    """Make a file's bytes survive a power failure, or the names that were created in or moved into a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_stream(stream: BinaryIO) -> None:
    """Make what was written to an open file survive a power failure."""
    stream.flush()
    os.fsync(stream.fileno())


@contextmanager
def replacing(path: Path, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """Open a draft beside ``path`` that takes its place when everything is written and synced.

    Raises OSError, which names ``path`` where no draft can be made.
    """
    with _draft(path, mode) as (draft, stream):
        yield stream
        sync_stream(stream)
        draft.replace(path)
    sync(path.parent)


def write_whole(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Replace the content of ``path`` all at once. Raises OSError."""
    with replacing(path, mode) as stream:
        stream.write(content)


def write_first(path: Path, content: bytes) -> None:
    """Write a new private file, unless ``path`` is there already: then it stays as it is. Raises OSError."""
    with _draft(path, PRIVATE) as (draft, stream):
        stream.write(content)
        sync_stream(stream)
        with suppress(FileExistsError):
            os.link(draft, path)
    sync(path.parent)


def remove_drafts(path: Path) -> None:
    """Delete the drafts of ``path`` that killed writers left; only while no writer runs."""
    for draft in path.parent.glob(f"{path.name}.*.part"):
        draft.unlink(missing_ok=True)


@contextmanager
def _draft(path: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new file beside ``path``, and delete it at the end if it still has its name."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        stream = open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115  closed below
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with stream:
            yield draft, stream
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Make an empty folder that takes the place of ``folder`` when it is filled with files and synced.

    A killed process leaves the old folder or none. The caller keeps two processes from replacing it at the same time.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)  # mkdtemp's 0700 would shut out a service that runs as another user
        for path in (*draft.iterdir(), draft):
            sync(path)
        _rename_over(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _rename_over(draft: Path, folder: Path) -> None:
    if folder.exists():
        old = Path(mkdtemp(prefix=REPLACED, dir=folder.parent)) / folder.name
        folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old.parent, ignore_errors=True)
    else:
        draft.rename(folder)
    sync(folder.parent)


def remove_unfinished_folders(parent: Path) -> None:
    """Delete what killed processes left of ``replacing_folder`` in ``parent``; only while no such process runs."""
    for prefix in (UNFINISHED, REPLACED):
        for left in parent.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)


def json_line(value: dict[str, Any]) -> bytes:
    """Return a value as one line of JSON, in ASCII: any text can be in it, also the name of any file."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def parse_line(line: bytes) -> Any:
    """Return the JSON value of a whole line; None for a torn one."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def parse_lines(lines: Iterable[bytes], start: int) -> Iterator[tuple[Any, int]]:
    """Yield the value of each line with the offset at which the line ends, up to the first torn line.

    start: offset of the first line.
    """
    for line in lines:
        value, start = parse_line(line), start + len(line)
        if value is None:
            return
        yield value, start
