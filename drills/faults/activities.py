"""What workers do, one class each: what to ask, how to ask it, and what it changes. ``drills.faults.requests`` has
them.

An activity that changes no truth (a snapshot, a compaction, a re-embedding) registers here all the same: being
killed in the middle of it must change nothing either.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from drills.faults.access import Access
from drills.faults.world import World

Request = dict[str, Any]
Answer = dict[str, Any]

ACTIVITIES: dict[str, "Activity"] = {}


class Activity:
    """weight: how often it is chosen, beside the others' weights. Stateless."""

    weight: ClassVar[int]

    def __init_subclass__(cls) -> None:
        ACTIVITIES[cls.__name__] = cls()

    def plan(self, world: World, chance: Random) -> Request | None:
        """What to ask now; None where the world gives no occasion. May number photographs, else changes nothing."""
        raise NotImplementedError

    def perform(self, access: Access, request: Request) -> Answer:
        raise NotImplementedError

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        """Makes ``world`` what it is after the request; without an answer, what it is if it was done all the same.
        Returns what is not true of the answer."""
        raise NotImplementedError


def choose(chance: Random, world: World, names: Sequence[str]) -> tuple[str, Request]:
    """The next of these activities, by name, and its request."""
    weights = [ACTIVITIES[name].weight for name in names]
    while True:
        (name,) = chance.choices(names, weights)
        request = ACTIVITIES[name].plan(world, chance)
        if request is not None:
            return name, request
