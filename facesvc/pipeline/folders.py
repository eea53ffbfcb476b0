"""Photographs in folders: which files are photographs, and a folder per person."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from facesvc.errors import RequestError

ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "HEIC": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
}
"""The formats that ``facesvc.pipeline.decode`` takes, with the endings of their files. A file in a folder is taken for
a photograph by its ending; what is in it is told by its bytes."""
SUFFIXES = frozenset(chain.from_iterable(ENDINGS.values()))


def is_photograph(path: str | Path) -> bool:
    """Return whether the file's name ends like a photograph's."""
    return os.path.splitext(path)[1].lower() in SUFFIXES


def person_folders(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, sorted by name; hidden ones are passed over. Raises RequestError."""
    return [path for path in _visible(folder) if path.is_dir()]


def photographs_in(folder: Path) -> list[Path]:
    """Return the photographs in ``folder`` itself, sorted by name; hidden ones are passed over. Raises RequestError."""
    return [path for path in _visible(folder) if is_photograph(path) and path.is_file()]


def walk(path: str) -> Iterator[str]:
    """Yield ``path``, or the photographs below it where it is a folder: sorted, a folder's files first.

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
    yield from (entry.path for entry in visible if is_photograph(entry.name) and _can_be_named(entry))
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)


def _can_be_named(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a file, or a link that leads nowhere: reading that one fails with its name."""
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise RequestError(f"{folder} can't be read: {error.strerror}") from error
