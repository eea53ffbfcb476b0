"""What callers call galleries and subjects, and tell of them: one rule for HTTP and the command line."""

import json
import re
from collections.abc import Mapping
from typing import Any

from facesvc.errors import RequestError

NAME_PATTERN = r"^[^/\u0000-\u001f\u007f-\u009f]{1,128}$"
"""Any characters but "/" and controls; written so that Rust, Python and ECMAScript read it alike."""
TEXT_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f]*$"
RESERVED = frozenset({".", ".."})
"""Clients and proxies take these out of addresses."""
DISPLAY_NAME_LENGTH, CONSENT_LENGTH = 256, 200
"""Characters at most."""
METADATA_BYTES = 16 * 1024
"""Of JSON, at most."""


def require_name(name: str) -> None:
    """Raises RequestError for a name that could not stand in a URL's path."""
    if not re.fullmatch(NAME_PATTERN, name) or name in RESERVED:
        raise RequestError(
            f"{name!r} can't be a name: it takes 1 to 128 characters, none of them '/' or a control character, "
            "and neither '.' nor '..'"
        )


def require_text(what: str, text: str | None, longest: int) -> None:
    """Raises RequestError for one line of text that is empty, too long, or has control characters. what: its name."""
    if text is not None and not (0 < len(text) <= longest and re.fullmatch(TEXT_PATTERN, text)):
        raise RequestError(f"{what} takes 1 to {longest} characters, none of them a control character")


def require_metadata(metadata: Mapping[str, Any] | None) -> None:
    """Raises RequestError for what not every database takes and gives back as it was: NaN, infinity, U+0000, what is no
    JSON; and for too much of it."""
    try:
        encoded = json.dumps(metadata, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RequestError(f"metadata must be JSON: {error}") from error
    if len(encoded) > METADATA_BYTES:
        raise RequestError(f"metadata may have at most {METADATA_BYTES} bytes of JSON")
    if "\\u0000" in encoded.replace("\\\\", ""):  # an escaped backslash is no start of an escape
        raise RequestError("metadata can't hold the character U+0000")
