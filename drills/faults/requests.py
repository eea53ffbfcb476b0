"""The service's requests as activities: enrolments, deletions, changes, searches."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from drills.faults.access import Access
from drills.faults.activities import ACTIVITIES, Activity, Answer, Request
from drills.faults.world import SHARED, Person, Place, World

T = TypeVar("T")

PEOPLE, GALLERIES = 6, 3
"""People a worker has in one gallery, galleries it has to itself, at most."""
SAME = 1e-6
"""Squared L2 below which a photograph is the one that was enrolled; others are far beyond."""


def one_of(chance: Random, options: Sequence[T]) -> T | None:
    return chance.choice(options) if options else None


def person_of(world: World, request: Request) -> Person:
    return world.places[request["gallery"]].people[request["person"]]


class Enrol(Activity):
    """One to three photographs of a person, new or not; sometimes one that is enrolled already, or was deleted."""

    weight = 10

    def plan(self, world: World, chance: Random) -> Request:
        gallery = chance.choice(list(world.places))
        person = f"{world.owner}-{chance.randrange(PEOPLE)}"
        photographs = [world.photograph() for _ in range(chance.randint(1, 3))]
        again = [name for g, p, name in world.held() if (g, p) == (gallery, person)]
        again += sorted({name for _, _, name in world.erased.values()} - {name for _, _, name in world.held()})
        if again and chance.random() < 0.4:
            photographs[0] = chance.choice(again)
        asked = {"gallery": gallery, "person": person, "photographs": photographs, "used": world.used}
        return asked | ({"key": f"{world.owner} {world.used}"} if chance.random() < 0.5 else {})

    def perform(self, access: Access, request: Request) -> Answer:
        asked = request["gallery"], request["person"], request["photographs"], request.get("key")
        return {"references": access.enrol(*asked)}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        place = world.places[request["gallery"]]
        person = place.people.setdefault(request["person"], Person())
        names: list[str] = request["photographs"]
        ids: list[str | None] = answer["references"] if answer else [None] * len(names)
        wrong = [] if len(ids) == len(names) else [f"{len(names)} photographs enrolled as {len(ids)} references"]
        world.used = max(world.used, request["used"])
        if "key" in request:
            world.kept[request["key"]] = request
        for name, public_id in zip(names, ids, strict=False):
            if name not in person.references:
                person.references[name] = public_id
                person.photographs |= {name} if place.keeps else set()
            elif public_id not in (None, person.references[name]):
                wrong.append(f"{name} enrolled again is {public_id}, was {person.references[name]}")
        return wrong


class Repeat(Activity):
    """An enrolment with an idempotency key, once more: it gets the same answer, and changes nothing. Its first answer
    may have been lost with a process that was killed."""

    weight = 3

    def plan(self, world: World, chance: Random) -> Request | None:
        key = one_of(chance, list(world.kept))
        return world.kept[key] if key else None

    def perform(self, access: Access, request: Request) -> Answer:
        return ACTIVITIES["Enrol"].perform(access, request)

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        person = person_of(world, request)
        wanted = [person.references[name] for name in request["photographs"]]
        if answer is None or answer["references"] == wanted:
            return []
        return [f"repeated, {request['photographs']} are {answer['references']}, were {wanted}"]


class DeleteReference(Activity):
    weight = 5

    def plan(self, world: World, chance: Random) -> Request | None:
        held = one_of(chance, world.held())
        return held and dict(zip(("gallery", "person", "photograph"), held, strict=True)) | {
            "reference": world.places[held[0]].people[held[1]].references[held[2]]
        }

    def perform(self, access: Access, request: Request) -> Answer:
        access.delete_reference(request["gallery"], request["person"], request["reference"])
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        world.erase(request["gallery"], request["person"], request["photograph"])
        return []


class DeletePerson(Activity):
    weight = 2

    def plan(self, world: World, chance: Random) -> Request | None:
        found = one_of(chance, world.people())
        return found and dict(zip(("gallery", "person"), found, strict=True))

    def perform(self, access: Access, request: Request) -> Answer:
        access.delete_person(request["gallery"], request["person"])
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        gallery, person = request["gallery"], request["person"]
        world.erase(gallery, person, *person_of(world, request).references)
        del world.places[gallery].people[person]
        return []


class CreateGallery(Activity):
    weight = 2

    def plan(self, world: World, chance: Random) -> Request | None:
        free = [name for i in range(GALLERIES) if (name := f"{world.owner}-gallery {i}") not in world.places]
        return {"gallery": chance.choice(free), "keeps": chance.random() < 0.5} if free else None

    def perform(self, access: Access, request: Request) -> Answer:
        access.create_gallery(request["gallery"], request["keeps"])
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        world.places[request["gallery"]] = Place(request["keeps"])
        return []


class DeleteGallery(Activity):
    weight = 1

    def plan(self, world: World, chance: Random) -> Request | None:
        name = one_of(chance, [name for name in world.places if name != SHARED])
        return {"gallery": name} if name else None

    def perform(self, access: Access, request: Request) -> Answer:
        access.delete_gallery(request["gallery"])
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        gallery = request["gallery"]
        for name, person in world.places[gallery].people.items():
            world.erase(gallery, name, *list(person.references))
        del world.places[gallery]
        return []


class ChangeGallery(Activity):
    """Keeps photographs from now on, or deletes those that were kept."""

    weight = 1

    def plan(self, world: World, chance: Random) -> Request | None:
        name = one_of(chance, [name for name in world.places if name != SHARED])
        return {"gallery": name, "keeps": not world.places[name].keeps} if name else None

    def perform(self, access: Access, request: Request) -> Answer:
        access.change_gallery(request["gallery"], request["keeps"])
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        place = world.places[request["gallery"]]
        place.keeps = request["keeps"]
        if not place.keeps:
            for person in place.people.values():
                person.photographs.clear()
        return []


class CreatePerson(Activity):
    weight = 1

    def plan(self, world: World, chance: Random) -> Request | None:
        gallery = chance.choice(list(world.places))
        person = f"{world.owner}-{chance.randrange(PEOPLE)}"
        if person in world.places[gallery].people:
            return None
        return {"gallery": gallery, "person": person, "called": f"Number {chance.randrange(100)}"}

    def perform(self, access: Access, request: Request) -> Answer:
        access.create_person(request["gallery"], request["person"], request["called"], {"made": "by hand"})
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        people = world.places[request["gallery"]].people
        people[request["person"]] = Person(request["called"], {"made": "by hand"})
        return []


class ChangePerson(Activity):
    weight = 2

    def plan(self, world: World, chance: Random) -> Request | None:
        found = one_of(chance, world.people())
        change = {"called": f"Zoë {chance.randrange(100)}", "metadata": {"floor": chance.randrange(9)}}
        return found and dict(zip(("gallery", "person"), found, strict=True)) | change

    def perform(self, access: Access, request: Request) -> Answer:
        access.change_person(request["gallery"], request["person"], request["called"], request["metadata"])
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        person = person_of(world, request)
        person.display_name, person.metadata = request["called"], request["metadata"]
        return []


class Search(Activity):
    """Identifies a photograph that is enrolled, or was, or never was."""

    weight = 5

    def plan(self, world: World, chance: Random) -> Request:
        names = (
            [name for _, _, name in world.held()]
            + [name for _, _, name in world.erased.values()]
            + [f"{world.owner} 0"]
        )
        return {"gallery": chance.choice(list(world.places)), "photograph": chance.choice(names)}

    def perform(self, access: Access, request: Request) -> Answer:
        return {"candidates": access.search(request["gallery"], request["photograph"], PEOPLE)}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        people, name = world.places[request["gallery"]].people, request["photograph"]
        candidates = [c for c in answer["candidates"] if world.owns(c[0])] if answer else []
        known = {person: there.references.values() for person, there in people.items()}
        wrong = [
            f"search answered {who} with {of}, deleted" for who, _, of in candidates if of not in known.get(who, ())
        ]
        holders = {person for person, there in people.items() if name in there.references}
        same = {who for who, distance, _ in candidates if distance < SAME}
        if answer and same != holders:
            wrong.append(f"search for {name} found {sorted(same)}, not {sorted(holders)}")
        return wrong


class ReadPhotograph(Activity):
    weight = 1

    def plan(self, world: World, chance: Random) -> Request | None:
        kept = [held for held in world.held() if held[2] in world.places[held[0]].people[held[1]].photographs]
        found = one_of(chance, kept)
        return found and dict(zip(("gallery", "person", "photograph"), found, strict=True)) | {
            "reference": world.places[found[0]].people[found[1]].references[found[2]]
        }

    def perform(self, access: Access, request: Request) -> Answer:
        content = access.read_photograph(request["gallery"], request["person"], request["reference"])
        return {"intact": content == access.content(request["photograph"])}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        return [] if answer is None or answer["intact"] else [f"photograph {request['photograph']} is damaged"]


class Follow(Activity):
    """What a server does now and then: snapshots are written, purged and swept, which changes no truth."""

    weight = 4

    def plan(self, world: World, chance: Random) -> Request:
        return {}

    def perform(self, access: Access, request: Request) -> Answer:
        access.follow()
        return {}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        return []


class ChangeModel(Activity):
    """A step of a gallery's change from one model pack to another, and back: whoever is enrolled stays so."""

    weight = 8

    def plan(self, world: World, chance: Random) -> Request:
        return {"gallery": chance.choice(list(world.places)), "turn": chance.random()}

    def perform(self, access: Access, request: Request) -> Answer:
        return {"step": access.change_model(request["gallery"], request["turn"])}

    def apply(self, world: World, request: Request, answer: Answer | None) -> list[str]:
        return []
