"""Opaque cursors of keyset paging: where a listing goes on, and which listing it was."""

import base64
import binascii
import json
from typing import TypeVar

from facesvc.errors import InvalidCursor

P = TypeVar("P", str, int)
HIGHEST_KEY = 2**63 - 1


def encode_cursor(listing: str, last: str | int) -> str:
    """The cursor after the item at ``last`` (its name or key) of ``listing``."""
    position = json.dumps([listing, last], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(listing: str, cursor: str, kind: type[P]) -> P:
    """The position that ``encode_cursor`` put in. Raises InvalidCursor for anything that it did not make for
    this listing."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found, last = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeError, binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise InvalidCursor("cursor is not one of ours") from error
    if found != listing or type(last) is not kind:
        raise InvalidCursor("cursor belongs to another listing")
    if isinstance(last, int) and not 0 <= last <= HIGHEST_KEY:
        raise InvalidCursor("cursor is not one of ours")
    return last
