"""A gallery's second set of templates, while it moves from one model pack to another."""

from dataclasses import dataclass
from enum import StrEnum


class ShadowState(StrEnum):
    """What templates of another version are there for, beside those that answer.

    FILLING: to follow them; STANDBY: they were there before, and may come back; LEAVING: none of that, they are being
    deleted.
    """

    FILLING = "filling"
    STANDBY = "standby"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Shadow:
    """A gallery's templates of another version than the one that answers; templates: how many there are."""

    template_version: str
    state: ShadowState
    templates: int
