"""The rows of a gallery's file into a store: chunk by chunk, so that a run which is killed is continued by running it
again; rows that can't be taken are counted and named, and stop nobody else's."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from facesvc.core.types import Added, Entry
from facesvc.exchange.batches import batches
from facesvc.exchange.reader import Record
from facesvc.exchange.rows import RowRefused, RowRules

CHUNK = 500
"""Rows of one transaction."""
CHUNK_BYTES = 16 * 2**20
"""Bytes of photographs after which a transaction ends early."""
NAMED = 100
"""Refused rows that are told one by one; the others are counted."""

Add = Callable[[Sequence[Entry]], Added]
"""Stores entries in one transaction."""


@dataclass(slots=True)
class Import:
    """What came of a file's rows: ``added`` by committed transactions; ``refused`` by code; ``named``: the first of
    those, with row (from 1), subject and detail."""

    rules: RowRules
    added: Added = field(default_factory=Added)
    refused: Counter[str] = field(default_factory=Counter)
    named: list[dict[str, Any]] = field(default_factory=list)

    def run(self, rows: Iterable[tuple[int, Record]], add: Add, advance: Callable[[], None]) -> None:
        """Stores what ``rows`` give; ``advance`` is called for each row that is done."""
        for chunk in batches(self._entries(rows, advance), CHUNK, CHUNK_BYTES):
            self.added += add(chunk)
            for _ in chunk:
                advance()

    def _entries(self, rows: Iterable[tuple[int, Record]], advance: Callable[[], None]) -> Iterator[Entry]:
        for number, record in rows:
            try:
                yield self.rules.entry(record)
            except RowRefused as refused:
                self._name(number, record, refused)
                advance()

    def _name(self, number: int, record: Record, refused: RowRefused) -> None:
        self.refused[refused.code] += 1
        if len(self.named) < NAMED:
            subject = (record["subject"] or "").encode("utf-8", "backslashreplace").decode()[:128]
            self.named.append({"row": number, "subject": subject, "code": refused.code, "detail": refused.detail})
