"""An identification is the same whatever the index: a shortlist's further keys change nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from facesvc.core.ports import TemplateIndex
from facesvc.core.types import Capture, FaceChoice, NewReference, Template, Vectors
from facesvc.index.exact import ExactIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import MemoryHome
from facesvc.pipeline.packs import LoadedPacks
from facesvc.storage.store import Store
from tests.contract.indexes import KINDS
from tests.support.databases import VERSION, new_reference, unit_vectors
from tests.support.engines import ENGINE_PARAMETERS, ENGINES
from tests.support.services import make_service

TOP = 3
"""Subjects asked for; the service asks its index for four times as many references."""


class Vector:
    """core.ports.Extractor whose photographs are templates: 128 float32."""

    pack, title, template_version, norm, calibration, threshold = "vector", "Vector", VERSION, 1.0, None, 1.1

    def detect(self, photograph: bytes) -> Capture:
        template = Template(np.frombuffer(photograph, np.float32), VERSION)
        return Capture((replace(new_reference(0).sample, template=template),), 1, 640, 480)

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        return self.detect(photograph)


class Generous(ExactIndex):
    """core.ports.TemplateIndex that adds the five furthest references to every shortlist, as it may."""

    def search(self, probes: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        distances, keys = super().search(probes, len(self))
        chosen = np.r_[:k, max(k, len(self) - 5) : len(self)]
        return distances[:, chosen], keys[:, chosen]


def reference(vector: Vectors, number: int) -> NewReference:
    known = new_reference(number)
    return replace(known, sample=replace(known.sample, template=Template(vector, VERSION)))


def around(centre: Vectors, count: int, distance: float, rng: np.random.Generator) -> Vectors:
    """(count 128) unit vectors at about this L2 distance of a unit vector."""
    moved = centre + distance / np.sqrt(128) * rng.normal(size=(count, 128))
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=[*KINDS, "generous", *ENGINE_PARAMETERS])
def open_index(request: pytest.FixtureRequest) -> Callable[[], TemplateIndex]:
    if request.param in ENGINES:
        return request.getfixturevalue("engine_openers").opener(request.param)
    return Generous if request.param == "generous" else KINDS[request.param]


def test_crowded_subjects(store: Store, open_index: Callable[[], TemplateIndex]) -> None:
    """The nearest dozen references are of two subjects, so that a third must be looked for again, whoever else is in
    the shortlist."""
    rng = np.random.default_rng(0)
    centre = unit_vectors(1)[0]
    for i, subject in enumerate(("ada", "bob")):
        near = around(centre, 15, 0.2, rng)
        store.references.add("staff", subject, [reference(v, 100 * i + j) for j, v in enumerate(near)])
    for i, vector in enumerate(around(centre, 60, 0.3, rng)):
        store.references.add("staff", f"other {i}", [reference(vector, 1_000 + i)])
    service, oracle = (
        make_service(LoadedPacks(Vector()), store, GalleryIndexes(store, MemoryHome(kind)))
        for kind in (open_index, ExactIndex)
    )
    for probe in around(centre, 10, 0.05, rng):
        (found,), (wanted,) = (s.decisions.identify(probe.tobytes(), "staff", TOP).faces for s in (service, oracle))
        assert [(c.subject, c.reference, c.distance) for c in found.candidates] == [
            (c.subject, c.reference, c.distance) for c in wanted.candidates
        ]
        assert len(found.candidates) == TOP
