"""Entries a few at a time: by number, and by the photographs' size."""

from collections.abc import Iterable, Iterator

from facesvc.core.types import Entry


def batches(entries: Iterable[Entry], count: int, photograph_bytes: int) -> Iterator[list[Entry]]:
    """Lists of ``count`` entries, or fewer where their photographs reach ``photograph_bytes`` before."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.reference.new.photograph or b"") if entry.reference else 0
        if len(batch) == count or size >= photograph_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
