"""What ought to be stored, in plain values: the side of every comparison that no database ever touched."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SHARED = "shared"
"""The gallery in which every worker has people; it keeps photographs and is never deleted."""


@dataclass
class Person:
    """references: photograph's name -> public id, None while it was not told; photographs: names of those kept."""

    display_name: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    references: dict[str, str | None] = field(default_factory=dict)
    photographs: set[str] = field(default_factory=set)


@dataclass
class Place:
    """A gallery: whether it keeps photographs, and its people by id."""

    keeps: bool
    people: dict[str, Person] = field(default_factory=dict)


Places = dict[str, Place]


@dataclass
class World:
    """What one worker, ``owner``, has been told: its galleries, its people in the shared one, its deletions.

    Names of whatever it makes begin with its own, so that workers side by side have one truth each.
    erased: public id -> gallery, person and photograph; used: number of photographs it has invented; kept: enrolments
    by idempotency key, of people of whom nothing was deleted since.
    """

    owner: str
    places: Places
    erased: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    used: int = 0
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def new(cls, owner: str) -> "World":
        return cls(owner, {SHARED: Place(keeps=True)})

    def photograph(self) -> str:
        """The name of a new photograph."""
        self.used += 1
        return f"{self.owner} {self.used}"

    def owns(self, name: str) -> bool:
        return name.startswith(f"{self.owner}-")

    def part(self, found: Mapping[str, Place]) -> Places:
        """What of ``found`` is this worker's."""
        own = {name: place for name, place in found.items() if self.owns(name)}
        shared = found.get(SHARED)
        if shared:
            people = {name: person for name, person in shared.people.items() if self.owns(name)}
            own[SHARED] = Place(shared.keeps, people)
        return own

    def people(self) -> list[tuple[str, str]]:
        """Gallery and id of everybody."""
        return [(gallery, person) for gallery, place in self.places.items() for person in place.people]

    def held(self) -> list[tuple[str, str, str]]:
        """Gallery, person and photograph of every reference."""
        return [(g, p, name) for g, p in self.people() for name in self.places[g].people[p].references]

    def erase(self, gallery: str, person: str, *photographs: str) -> None:
        """Forgets references of a person, and remembers that they must never answer again."""
        there = self.places[gallery].people[person]
        for name in photographs:
            public_id = there.references.pop(name)
            there.photographs.discard(name)
            if public_id:
                self.erased[public_id] = gallery, person, name
        told = [key for key, asked in self.kept.items() if (asked["gallery"], asked["person"]) == (gallery, person)]
        for key in told:
            del self.kept[key]


def differences(expected: Places, found: Places) -> Iterator[str]:
    """One sentence for each way in which ``found`` is not ``expected``."""
    yield from _missing("gallery", expected, found)
    for name in sorted(expected.keys() & found.keys()):
        if expected[name].keeps != found[name].keeps:
            yield f"gallery {name} keeps photographs: {found[name].keeps}"
        yield from _missing(f"{name}: person", expected[name].people, found[name].people)
        for person in sorted(expected[name].people.keys() & found[name].people.keys()):
            yield from _of_person(f"{name}/{person}", expected[name].people[person], found[name].people[person])


def _missing(kind: str, expected: Mapping[str, object], found: Mapping[str, object]) -> Iterator[str]:
    for name in sorted(expected.keys() - found.keys()):
        yield f"{kind} {name} was acknowledged and is not there"
    for name in sorted(found.keys() - expected.keys()):
        yield f"{kind} {name} is there and ought not to be"


def _of_person(name: str, expected: Person, found: Person) -> Iterator[str]:
    if (expected.display_name, expected.metadata) != (found.display_name, found.metadata):
        yield f"{name} is called {found.display_name!r} {found.metadata}, not {expected.display_name!r}"
    yield from _missing(f"{name}: reference of", expected.references, found.references)
    for photograph in sorted(expected.references.keys() & found.references.keys()):
        told, stored = expected.references[photograph], found.references[photograph]
        if told not in (None, stored):
            yield f"{name}: reference of {photograph} is {stored}, was acknowledged as {told}"
    kept = dict.fromkeys(expected.photographs), dict.fromkeys(found.photographs)
    yield from _missing(f"{name}: photograph", *kept)
