"""Finds bytes in every file of a folder, at whatever place."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

CHUNK = 48
"""Bytes of a piece of something long: as much as nobody else's file has by chance."""


def pieces(content: bytes, count: int = 5) -> list[bytes]:
    """Some pieces of a photograph or vector, spread over it; whatever is shorter is one piece."""
    if len(content) <= CHUNK:
        return [content]
    last = len(content) - CHUNK
    return [content[last * i // count : last * i // count + CHUNK] for i in range(1, count + 1)]


def found(folder: Path, needles: Mapping[str, Iterable[bytes]]) -> dict[str, list[str]]:
    """Which needles are in which files, by what they are: {"photograph": ["facesvc.db-wal"]}. Models are left out."""
    places: dict[str, list[str]] = {}
    for path in files(folder):
        content = path.read_bytes()
        for what, wanted in needles.items():
            if any(needle in content for needle in wanted):
                places.setdefault(what, []).append(str(path.relative_to(folder)))
    return places


def files(folder: Path) -> list[Path]:
    """All of the folder, but for the packs, which a link leads to."""
    return sorted(Path(root) / name for root, _, names in os.walk(folder) for name in names)
