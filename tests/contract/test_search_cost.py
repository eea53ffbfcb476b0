"""What a search opens: many references of a few subjects make nobody's search slow, and change no answer."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from facesvc.core.types import (
    Gallery,
    NewReference,
    NewSubject,
    Page,
    Reference,
    Retention,
    SubjectChange,
    Template,
    Vectors,
)
from facesvc.errors import SubjectNotFound, TooManyReferences
from facesvc.index.compressed import CompressedIndex
from facesvc.index.exact import ExactIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import MemoryHome
from facesvc.pipeline.packs import LoadedPacks
from facesvc.service.decisions import Search
from facesvc.storage.references import References
from facesvc.storage.search import SearchRows
from facesvc.storage.store import Store
from tests.contract.test_identify_kinds import Vector, around, reference
from tests.support.databases import VERSION, new_reference, unit_vectors
from tests.support.services import make_service

CROWD = 400
"""References of each of a few subjects."""


class CountedSearch(SearchRows):
    """What searches read, counted."""

    def __init__(self, store: Store, read: Counter[str]) -> None:
        super().__init__(store.rows)
        self.read = read

    def vectors(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, Vectors]:
        self.read["vectors"] += len(keys)
        return super().vectors(gallery, keys)


class CountedReferences(References):
    """The references of a store, of which no decision reads all that is kept of a subject."""

    def __init__(self, store: Store, read: Counter[str]) -> None:
        super().__init__(store.rows, store.answers)
        self.read = read

    def by_key(self, gallery: Gallery, keys: Sequence[int]) -> Sequence[Reference]:
        self.read["references"] += len(keys)
        return super().by_key(gallery, keys)

    def list(self, gallery: str, subject: str, limit: int, cursor: str | None = None) -> Page[Reference]:
        raise AssertionError("no decision reads all that is kept of a subject")


class Counted(Store):
    """A store that counts what is read of it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.engine, store.tenant, store.codec)
        self.read, self.uncounted = Counter[str](), store
        self.search, self.references = CountedSearch(self, self.read), CountedReferences(self, self.read)


class Counting:
    """core.ports.GalleryIndexes that notes how far each search went."""

    def __init__(self, inner: GalleryIndexes) -> None:
        self.inner, self.asked = inner, list[int]()

    def search(self, gallery: Gallery, probes: Vectors, k: int) -> list[list[int]]:
        self.asked.append(k)
        return self.inner.search(gallery, probes, k)


@pytest.fixture
def crowded(store: Store) -> Counted:
    """Three subjects of many photographs each, of which the first is nearest to every probe; one of a single one, the
    furthest; one that has none, and one that has expired."""
    rng, centre = np.random.default_rng(0), unit_vectors(1)[0]
    for place, subject in enumerate(("ada", "bob", "cyd")):
        crowd = around(centre, CROWD, 0.2 + 0.2 * place, rng)
        new = [reference(vector, 1000 * place + i) for i, vector in enumerate(crowd)]
        store.references.add("staff", subject, new)
    store.references.add("staff", "dot", [reference(around(centre, 1, 1.0, rng)[0], 9000)])
    store.subjects.create("staff", NewSubject("nobody"))
    gone = Retention(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    store.subjects.create("staff", NewSubject("gone"))
    store.references.add("staff", "gone", [reference(around(centre, 1, 0.01, rng)[0], 9001)])
    store.subjects.update("staff", "gone", SubjectChange(retention=gone))
    return Counted(store)


def slow(store: Counted, probe: Vectors, top_k: int) -> list[tuple[str, str, float]]:
    """Every reference of the gallery, compared."""
    nearest = []
    for subject in store.subjects.list("staff", 100).items:
        kept = [r for r in store.uncounted.references.list("staff", subject.id, 2000).items if r.has_template]
        for distance, i in sorted((_distance(probe, r), i) for i, r in enumerate(kept))[:1]:
            nearest.append((subject.id, kept[i].id, distance))
    return sorted(nearest, key=lambda found: found[2])[:top_k]


def _distance(probe: Vectors, kept: Reference) -> float:
    return float(squared_l2(probe[None], kept.sample.template.vector[None])[0, 0])


@pytest.mark.parametrize("kind", [ExactIndex, CompressedIndex])
def test_few_subjects_of_many_references(crowded: Counted, kind: Any) -> None:
    probes, gallery = around(unit_vectors(1)[0], 3, 0.05, np.random.default_rng(1)), crowded.galleries.get("staff")
    wanted = [slow(crowded, probe, 5) for probe in probes]
    for top_k in (1, 3, 5):
        indexes = GalleryIndexes(crowded, MemoryHome(kind))
        for probe, nearest in zip(probes, wanted, strict=True):
            crowded.read.clear()
            found = Search(crowded, indexes, gallery, [Template(probe, VERSION)]).nearest(top_k)[0]
            assert [(c.subject, c.reference, c.distance) for c in found] == nearest[:top_k]
            assert crowded.read["references"] == len(found)  # of the winners alone is read what is kept
            assert crowded.read["vectors"] <= 3 * CROWD + 2  # each at most once
        if kind is ExactIndex and top_k == 1:
            assert crowded.read["vectors"] == 3  # of four, one has expired


def test_a_search_ends_where_every_subject_is_found(store: Store) -> None:
    """Two subjects, five asked for: the first shortlist names both, and nothing more is looked at."""
    rng, (near, far) = np.random.default_rng(2), unit_vectors(2)
    store.references.add("staff", "ada", [reference(v, i) for i, v in enumerate(around(near, 10, 0.3, rng))])
    store.references.add("staff", "bob", [reference(far, 1000 + i) for i in range(90)] + [reference(near, 2000)])
    indexes = Counting(GalleryIndexes(store, MemoryHome(ExactIndex)))
    search = Search(store, indexes, store.galleries.get("staff"), [Template(near, VERSION)])  # type: ignore[arg-type]
    assert [c.subject for c in search.nearest(5)[0]] == ["bob", "ada"]
    assert indexes.asked == [20]


def test_what_is_opened_of_a_known_subject_is_not_opened_again(crowded: Counted) -> None:
    probe = around(unit_vectors(1)[0], 1, 0.05, np.random.default_rng(3))[0]
    indexes = Counting(GalleryIndexes(crowded, MemoryHome(ExactIndex)))
    search = Search(crowded, indexes, crowded.galleries.get("staff"), [Template(probe, VERSION)])  # type: ignore[arg-type]
    assert [c.subject for c in search.nearest(2)[0]] == ["ada", "bob"]
    assert indexes.asked == [8, 32, 128, 512]
    assert crowded.read["vectors"] == 7 + (512 - CROWD - 1)  # the nearest of all has expired


def test_probes_are_looked_for_apart(crowded: Counted) -> None:
    """One of them finds its subjects at once, the other has to go far."""
    rng = np.random.default_rng(4)
    probes = [around(unit_vectors(1)[0], 1, 0.05, rng)[0], unit_vectors(3)[2]]
    indexes = GalleryIndexes(crowded, MemoryHome(ExactIndex))
    found = Search(crowded, indexes, crowded.galleries.get("staff"), [Template(p, VERSION) for p in probes]).nearest(3)
    for probe, candidates in zip(probes, found, strict=True):
        assert [(c.subject, c.reference, c.distance) for c in candidates] == slow(crowded, probe, 3)


def test_a_verification_opens_one_vector_of_each_reference(crowded: Counted) -> None:
    service = make_service(LoadedPacks(Vector()), crowded, GalleryIndexes(crowded, MemoryHome(ExactIndex)))
    probe = around(unit_vectors(1)[0], 1, 0.05, np.random.default_rng(5))[0]
    answer = service.decisions.verify_subject(probe.tobytes(), "staff", "ada")
    ((_, wanted, distance),) = (found for found in slow(crowded, probe, 9) if found[0] == "ada")
    assert (answer.reference.reference, answer.distance) == (wanted, distance)  # type: ignore[union-attr]
    assert crowded.read == {"vectors": CROWD, "references": 1}
    for subject, said in (("nobody", "has no references"), ("gone", "no subject"), ("eve", "no subject")):
        with pytest.raises(SubjectNotFound, match=said):
            service.decisions.verify_subject(probe.tobytes(), "staff", subject)


def test_a_subject_has_so_many_references(store: Store) -> None:
    def add(*numbers: int) -> int:
        new: list[NewReference] = [replace(new_reference(number)) for number in numbers]
        return len(store.references.add("staff", "ada", new, most=3))

    assert add(1, 2) == 2
    with pytest.raises(TooManyReferences, match="a subject may have 3 references; this one has 2"):
        add(3, 4)
    assert store.subjects.get("staff", "ada").references == 2  # all or none
    assert add(3) == 1
    assert add(1, 2, 3) == 3  # what is there already needs no room
    with pytest.raises(TooManyReferences):
        add(4)
