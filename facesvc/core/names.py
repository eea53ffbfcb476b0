"""Names that callers choose for galleries and subjects: one rule for HTTP and the command line."""

import re

from facesvc.errors import RequestError

NAME_PATTERN = r"^[^/\u0000-\u001f\u007f-\u009f]{1,128}$"
"""Any characters but "/" and controls; written so that Rust, Python and ECMAScript read it alike."""
RESERVED = frozenset({".", ".."})
"""Clients and proxies take these out of addresses."""


def require_name(name: str) -> None:
    """Raises RequestError for a name that could not stand in a URL's path."""
    if not re.fullmatch(NAME_PATTERN, name) or name in RESERVED:
        raise RequestError(
            f"{name!r} can't be a name: it takes 1 to 128 characters, none of them '/' or a control character, "
            "and neither '.' nor '..'"
        )
