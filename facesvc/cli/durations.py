"""Lengths of time as people write them: 30m, 12h, 90d."""

import re
from datetime import timedelta

import typer

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Raises BadParameter (exit code 2)."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no length of time: give a number of minutes, hours or days (30m, 12h, 90d)"
        )
    return timedelta(**{UNITS[found[2]]: int(found[1])})
