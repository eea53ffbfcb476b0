"""Kinds of rounds with ready-made photographs: a worker is killed, alone or beside another."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from drills.faults.ground import Ground, Outcome, Running, Stage
from drills.faults.moments import ANY_TIME, Moment
from drills.faults.worker import Orders, work
from drills.faults.world import SHARED, World
from facesvc.core.types import NewGallery
from facesvc.errors import GalleryNotFound
from tests.support.databases import VERSION

SURVIVES = 5
"""Requests that the process beside a killed one must still have answered."""


CHANGING = ("ChangeModel", "Enrol", "DeleteReference", "DeletePerson", "CreateGallery", "Search", "Follow")
"""Activities of rounds that look at model changes."""


@dataclass(frozen=True)
class Kind:
    """hold: one round of it; share: of all rounds; real: whether it needs photographs and a model pack."""

    hold: Callable[[Stage, Random], Outcome]
    share: float
    real: bool = False


KINDS: dict[str, Kind] = {}


def kind(name: str, share: float, real: bool = False) -> Callable[[Callable[[Stage, Random], Outcome]], None]:
    """Registers a function that holds a round of the kind ``name``."""

    def register(hold: Callable[[Stage, Random], Outcome]) -> None:
        KINDS[name] = Kind(hold, share, real)

    return register


@kind("alone", share=0.4)
def alone(stage: Stage, chance: Random) -> Outcome:
    """One worker, killed."""
    return fell(stage, chance, "alone", beside=False)


@kind("beside another", share=0.3)
def beside(stage: Stage, chance: Random) -> Outcome:
    """Two workers on one database; one is killed, the other must go on without an error."""
    return fell(stage, chance, "beside another", beside=True)


@kind("model change", share=0.2)
def model_change(stage: Stage, chance: Random) -> Outcome:
    """Two workers that enrol, delete, search and change the galleries' models; one is killed."""
    return fell(stage, chance, "model change", beside=True, activities=CHANGING)


def fell(stage: Stage, chance: Random, name: str, beside: bool, activities: tuple[str, ...] = ()) -> Outcome:
    ground = stage.ground("ready-made")
    share(ground)
    moment = Moment.draw(chance, stage.database)
    doomed, other = chance.sample(ground.worlds, 2)
    survivor = start(ground, other, chance, None, activities) if beside else None
    violations = list(kill(start(ground, doomed, chance, moment, activities), doomed, moment))
    if survivor:
        if not survivor.wait(SURVIVES):
            violations.append(f"{other.owner} did not go on when {doomed.owner} was killed")
        survivor.stop()
    findings, flights, acknowledged = ground.examine()
    violations += findings.violations
    return Outcome(name, stage.database, moment.name, flights[doomed.owner], acknowledged, violations)


def share(ground: Ground) -> None:
    """Makes the gallery that all workers share, if it is new."""
    try:
        ground.follower.resources.store.galleries.get(SHARED)
    except GalleryNotFound:
        ground.follower.resources.store.galleries.create(NewGallery(SHARED, True), VERSION)


def start(
    ground: Ground, world: World, chance: Random, moment: Moment | None, activities: tuple[str, ...] = ()
) -> Running:
    orders = Orders(ground.url, world, chance.getrandbits(32), ground.journal(world.owner), moment, activities)
    return Running.start(work, orders)


def kill(victim: Running, doomed: World, moment: Moment) -> list[str]:
    """Sees to it that the worker dies at its moment."""
    if moment.name == ANY_TIME:
        victim.process.join(moment.seconds)
        victim.process.kill()
    victim.end()
    if victim.process.exitcode != -9:
        return [f"{doomed.owner} ended with {victim.process.exitcode} before it could be killed"]
    return []
