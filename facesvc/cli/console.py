"""What commands print: answers on stdout (JSON, or tables for people), everything said about them on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def say(message: str) -> None:
    """A message to the person at the terminal."""
    sys.stderr.write(printable(message, keep="\n") + "\n")
    sys.stderr.flush()


def answer(text: str) -> None:
    """A line of the command's result."""
    sys.stdout.write(printable(text) + "\n")


def answer_json(value: Any) -> None:
    """The result as JSON: one line where a program reads it, indented where a person does."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")


def answer_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for a person; lines of tab-separated cells, without a head and uncut, for a pipe."""
    cells = ([printable("" if value is None else str(value)) for value in row] for row in rows)
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in cells)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in cells:
        table.add_row(*map(Text, row))  # Text: a name in [brackets] is no markup
    Console().print(table)


def printable(text: str, keep: str = "") -> str:
    """``text`` with what would steer a terminal, or could not be written as UTF-8, as backslash escapes."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
