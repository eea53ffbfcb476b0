"""Pair lists in the format of Labeled Faces in the Wild (View 2)."""

from dataclasses import dataclass
from pathlib import Path

from facesvc.errors import RequestError


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs (relative to the image folder), whether one person is on both, and the pair's fold."""

    first: Path
    second: Path
    mated: bool
    fold: int


def read_pairs(file: Path) -> list[Pair]:
    """Reads ``pairs.txt``: a head line "folds n" (or "n", one fold), then for each fold n mated lines
    ``name i j`` and n non-mated ones ``name i name j``; photographs are ``name/name_0001.jpg``.

    Source: http://vis-www.cs.umass.edu/lfw/README.txt. Raises RequestError for anything else.
    """
    lines = [line.split("\t") if "\t" in line else line.split() for line in file.read_text().splitlines() if line]
    try:
        head, *rows = lines
        folds, each = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
        if len(rows) != 2 * folds * each:
            raise ValueError(f"{len(rows)} pairs where the head line promises {2 * folds * each}")
        return [_pair(row, fold=i // (2 * each)) for i, row in enumerate(rows)]
    except ValueError as error:
        raise RequestError(f"{file} is not an LFW pair list: {error}") from error


def _pair(row: list[str], fold: int) -> Pair:
    if len(row) == 3:
        return Pair(_photograph(row[0], row[1]), _photograph(row[0], row[2]), True, fold)
    if len(row) == 4:
        return Pair(_photograph(row[0], row[1]), _photograph(row[2], row[3]), False, fold)
    raise ValueError(f"a line of {len(row)} columns: {' '.join(row)!r}")


def _photograph(name: str, number: str) -> Path:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain name")
    return Path(name) / f"{name}_{int(number):04d}.jpg"
