"""A process that uses the real service over a real database until it is killed. Only its photographs are not real:
each stands for a ready-made sample, so that a round takes no second."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import numpy as np
from sqlalchemy import Engine

from drills.faults import requests  # noqa: F401  # it registers its activities
from drills.faults.access import Access, Direct
from drills.faults.activities import ACTIVITIES, choose
from drills.faults.journal import Journal
from drills.faults.moments import Moment, arm
from drills.faults.world import World
from facesvc.core.types import Capture, FaceChoice, Sample, Template
from facesvc.crypto.envelope import Envelope
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.growing import GrowingIndex
from facesvc.index.homes import IndexHome, MemoryHome
from facesvc.index.local import SnapshotHome
from facesvc.service import FaceService
from facesvc.storage.engine import open_engine
from facesvc.storage.store import Store
from tests.support.databases import VERSION, new_reference, open_store, unit_vectors
from tests.support.services import make_service

FLAT_UNTIL = 25
"""References of the largest gallery whose index is flat; a database's rounds lead beyond, to the compressed kind."""
SNAPSHOT_FROM = 5
"""References from which a gallery has a snapshot."""


@dataclass(frozen=True)
class Orders:
    """What a worker is told. moment: of its own death, None for one that is to live; journal: its file, beside which
    all workers on one database keep their indexes' snapshots; activities: to choose from, all where it is empty."""

    url: str
    world: World
    seed: int
    journal: Path
    moment: Moment | None
    activities: tuple[str, ...] = ()

    @property
    def snapshots(self) -> Path:
        return self.journal.parent / "snapshots"


def sample(photograph: str, version: str = VERSION) -> Sample:
    """The face that a photograph of this name stands for, with its template of this version."""
    owner, number = photograph.split()
    seed = int(number) + 10**6 * int.from_bytes(owner.encode())
    made = new_reference(seed).sample
    corners = np.sort(made.face.box.reshape(2, 2), axis=0).ravel()
    vector = unit_vectors(1, seed + (0 if version == VERSION else 10**5))[0]
    return replace(made, face=replace(made.face, box=corners), template=Template(vector, version))


class ReadyMade:
    """core.ports.Extractor whose photographs are names."""

    title, norm, calibration, threshold = "Ready-made", 1.0, None, 1.1

    def __init__(self, template_version: str) -> None:
        self.template_version = self.pack = template_version

    def detect(self, photograph: bytes) -> Capture:
        return Capture((sample(photograph.decode(), self.template_version),), 1, 640, 480, format="JPEG")

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        return self.detect(photograph)


class Packs:
    """core.ports.Extractors of two packs, which have the names of their versions."""

    default, default_version = ReadyMade(VERSION), VERSION

    def of(self, template_version: str) -> ReadyMade:
        return ReadyMade(template_version)

    def version_of(self, pack: str) -> str:
        return pack


def open_index() -> GrowingIndex:
    return GrowingIndex(flat_until=FLAT_UNTIL)


def open_home(store: Store, snapshots: Path | None) -> IndexHome:
    if snapshots is None:
        return MemoryHome(open_index)
    seal = Envelope(bytes(32), "snapshots")
    return SnapshotHome(lambda _: open_index(), store, snapshots, SNAPSHOT_FROM, seal)


@contextmanager
def open_service(engine: Engine, snapshots: Path | None = None) -> Iterator[FaceService]:
    """snapshots: folder of the indexes', None for a service without."""
    store = open_store(engine)
    try:
        yield make_service(Packs(), store, GalleryIndexes(store, open_home(store, snapshots)))
    finally:
        engine.dispose()


def work(orders: Orders, channel: Connection) -> None:
    """One request after another, each journalled before and after; ``channel`` hears of each, and ends the work by
    saying anything at all."""
    journal, engine = Journal(orders.journal), open_engine(orders.url)
    try:
        with open_service(engine, orders.snapshots) as service:
            channel.send("ready")
            if orders.moment:
                arm(orders.moment, engine)
            labour(Direct(service), orders.world, Random(orders.seed), journal, channel, orders.activities)
    except Exception:
        journal.failed(traceback.format_exc())


def labour(
    access: Access, world: World, chance: Random, journal: Journal, channel: Connection, activities: Sequence[str] = ()
) -> None:
    while not channel.poll():
        name, request = choose(chance, world, activities or list(ACTIVITIES))
        journal.asks(name, request)
        answer = ACTIVITIES[name].perform(access, request)
        journal.answered(answer)
        ACTIVITIES[name].apply(world, request, answer)
        channel.send("went on")
