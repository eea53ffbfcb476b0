"""The file format of an aligned set: chips that are appended in batches, and a ledger that says what they are.

FOLDER/ledger.jsonl   first line: format, pipeline and the chips' file; then one line a photograph (``Entry``)
FOLDER/chips-K.u8     the chips (size size 3) uint8 RGB, one after the other

A batch's chips are on disk before its lines are, so whatever kills the writer, every whole line is true; what is torn
or beyond the last line is cut off when the ledger is opened next. A new order is written beside the old files and put
in place by one rename.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Pixels
from facesvc.errors import RequestError
from facesvc.files import SHARED, json_line, parse_line, parse_lines, remove_drafts, replacing, sync_stream

FORMAT = "facesvc aligned set 1"
LEDGER = "ledger.jsonl"
CHIPS = ("chips-0.u8", "chips-1.u8")
"""In use by turns: a reordered set is written into the other one."""
COPIED = 4096
"""Chips that are copied at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One photograph. file: ``folder/file``; bytes, mtime_ns: its file's when it was read; row: its chip's place in
    the chips, or None and ``code``: the error that refused it."""

    file: str
    subject: str
    bytes: int
    mtime_ns: int
    sha256: str
    row: int | None = None
    code: str | None = None


class Ledger:
    """entries: the lines, in their order; rows: chips that belong to them."""

    def __init__(self, folder: Path, pipeline: dict[str, Any], size: int, chips: str = CHIPS[0]) -> None:
        self.folder, self.pipeline, self.size, self.name = folder, pipeline, size, chips
        self.entries: list[Entry] = []
        self.rows = 0
        self._whole = 0  # bytes of the ledger that are

    @property
    def chips_file(self) -> Path:
        return self.folder / self.name

    @classmethod
    def read(cls, folder: Path) -> "Ledger":
        """The ledger as far as it is whole, without changing a byte. Raises RequestError where there is none."""
        try:
            with (folder / LEDGER).open("rb") as lines:
                line = lines.readline()
                head = parse_line(line)
                if not head or head.get("format") != FORMAT or head["chips"] not in CHIPS:
                    raise RequestError(f"{folder} holds no aligned set of this version")
                ledger = cls(folder, head["pipeline"], head["pipeline"]["size"], head["chips"])
                ledger._whole = len(line)
                ledger._read_entries(lines, ledger.stored())
        except FileNotFoundError as error:
            raise RequestError(f"{folder} holds no aligned set") from error
        return ledger

    @classmethod
    def open(cls, folder: Path, pipeline: dict[str, Any], size: int) -> "Ledger":
        """For writing: what is there of this very pipeline, cut to what is whole, or an empty ledger."""
        try:
            ledger = cls.read(folder)
        except RequestError:
            ledger = None
        if ledger is None or ledger.pipeline != pipeline:
            ledger = cls(folder, pipeline, size)
            ledger._replace([])
        ledger._cut()
        return ledger

    def stored(self) -> int:
        """Whole chips in the file."""
        try:
            return self.chips_file.stat().st_size // self._chip_bytes
        except FileNotFoundError:
            return 0

    def chips(self) -> NDArray[np.uint8]:
        """(n size size 3) uint8 RGB, read-only and mapped, not read."""
        shape = (self.rows, self.size, self.size, 3)
        return np.memmap(self.chips_file, np.uint8, "r", shape=shape) if self.rows else np.zeros(shape, np.uint8)

    def append(self, batch: Sequence[tuple[Entry, Pixels | None]]) -> list[Entry]:
        """Stores the chips, then the lines; returns the entries with their rows."""
        entries: list[Entry] = []
        with self.chips_file.open("ab") as file:
            for entry, chip in batch:
                if chip is not None:
                    file.write(chip.tobytes())
                    entry, self.rows = replace(entry, row=self.rows), self.rows + 1
                entries.append(entry)
            sync_stream(file)
        with (self.folder / LEDGER).open("ab") as file:
            file.writelines(map(json_line, map(asdict, entries)))
            sync_stream(file)
        self.entries += entries
        return entries

    def arrange(self, entries: Sequence[Entry]) -> None:
        """Makes the ledger hold just these entries of its own, in this order, and the chips likewise."""
        chips, old = self.chips(), self.chips_file
        rows = [entry.row for entry in entries if entry.row is not None]
        numbers = iter(range(len(rows)))
        self.name = CHIPS[1 - CHIPS.index(self.name)]
        with self.chips_file.open("wb") as file:
            for start in range(0, len(rows), COPIED):
                file.write(chips[rows[start : start + COPIED]].tobytes())
            sync_stream(file)
        self._replace([entry if entry.row is None else replace(entry, row=next(numbers)) for entry in entries])
        old.unlink(missing_ok=True)

    @property
    def _chip_bytes(self) -> int:
        return self.size * self.size * 3

    def _read_entries(self, lines: Iterable[bytes], stored: int) -> None:
        for value, end in parse_lines(lines, self._whole):
            entry = _entry(value)
            if entry is None or (entry.row is not None and entry.row >= stored):
                return
            self._whole = end
            self.entries.append(entry)
            self.rows = self.rows if entry.row is None else max(self.rows, entry.row + 1)

    def _replace(self, entries: list[Entry]) -> None:
        """Writes the ledger anew and puts it in place at once."""
        head = {"format": FORMAT, "pipeline": self.pipeline, "chips": self.name}
        with replacing(self.folder / LEDGER, SHARED) as file:
            file.writelines(map(json_line, [head, *map(asdict, entries)]))
            self._whole = file.tell()
        self.entries, self.rows = entries, sum(entry.row is not None for entry in entries)

    def _cut(self) -> None:
        """Removes what a killed writer left: a torn line, chips without a line, the other chips' file, a draft."""
        os.truncate(self.folder / LEDGER, self._whole)
        if self.chips_file.exists():
            os.truncate(self.chips_file, self.rows * self._chip_bytes)
        (self.folder / CHIPS[1 - CHIPS.index(self.name)]).unlink(missing_ok=True)
        remove_drafts(self.folder / LEDGER)


def _entry(value: Any) -> Entry | None:
    try:
        return Entry(**value)
    except TypeError:
        return None
