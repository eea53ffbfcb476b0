"""Listings that come in pages, read to their end."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from facesvc.core.types import Page

Item = TypeVar("Item")
PAGE = 500
"""Items read at a time; listings over HTTP give no more."""


def every(read: Callable[[int, str | None], Page[Item]]) -> Iterator[Item]:
    """All items of a listing in their order, a page of them in memory at a time. read: a page of so many items at most,
    from a cursor on, None for the first."""
    cursor: str | None = None
    while True:
        page = read(PAGE, cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
