"""Photographs by name: files, folders, patterns and lists, in an order that is the same on every run."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from facesvc.errors import FileUnreadable, ImageTooLarge, RequestError

STDIN = "-"
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .heic .heif .hif .avif .gif .bmp .tif .tiff".split()  # noqa: SIM905  readable
)
"""Endings of files that are taken from folders; a file named by itself is always taken."""


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


def walk(path: str) -> Iterator[str]:
    """``path`` itself, or the photographs below it where it is a folder: sorted, a folder's files first.

    Hidden files and links to folders are passed over. A folder that can't be listed is passed on like a file.
    """
    if not os.path.isdir(path):
        yield path
        return
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError:
        yield path
        return
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    yield from (entry.path for entry in visible if is_photograph(entry))
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)


def is_photograph(entry: os.DirEntry[str]) -> bool:
    """A file, or a link that leads nowhere: reading that one fails with its name."""
    named = os.path.splitext(entry.name)[1].lower() in SUFFIXES
    return named and (entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)))


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
