"""Who is nearest? Shortlists from an index, rescored exactly, until they name enough subjects.

Whose a reference is costs little to know, its vector must be opened, and all that is kept of it is told of the winners
alone. Once a subject's nearest reference is known, its further ones are not opened: many photographs of a few people
don't make everybody's search slow.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from facesvc.core.compare import fuse_minimum, require_version, squared_l2
from facesvc.core.ports import ComparableStore, GalleryIndexes
from facesvc.core.types import Candidate, Gallery, Reference, Template, Vectors

FIRST = 4
"""References asked for at first for each subject that is wanted, and how many times more whenever they are too few."""

Found = dict[int, tuple[float, int]]
"""By subject: squared L2 distance and key of its nearest reference; nearest subject first."""


class Search:
    """For the nearest subjects of each of these probes, in one gallery. Raises TemplateVersionMismatch, and what store
    and indexes raise."""

    def __init__(
        self, store: ComparableStore, indexes: GalleryIndexes, gallery: Gallery, probes: Sequence[Template]
    ) -> None:
        for probe in probes:
            require_version(gallery.template_version, probe.version)
        self._store, self._indexes, self._gallery, self._probes = store, indexes, gallery, probes
        self._found: list[Found] = [{} for _ in probes]
        self._owners: dict[int, int | None] = {}
        self._vectors: dict[int, Vectors] = {}

    def nearest(self, top_k: int) -> list[tuple[Candidate, ...]]:
        """For each probe the top_k nearest subjects, or all of them where there are fewer."""
        wanted, size, enough = top_k * FIRST, max(self._gallery.templates, 1), top_k
        lacking = list(range(len(self._probes)))
        while lacking:
            self._widen(lacking, min(wanted, size))
            if enough == top_k and any(len(self._found[i]) < top_k for i in lacking):
                enough = self._store.answering(self._gallery, top_k)
            lacking = [i for i in lacking if wanted < size and len(self._found[i]) < enough]
            wanted *= FIRST
        return self._told(top_k)

    def _widen(self, which: Sequence[int], k: int) -> None:
        """Looks at a shortlist in which the k nearest references of each probe certainly are. Those that are not
        opened, of subjects that are known already or gone, may all be among the k: the rest of the k are the nearest
        of the others."""
        vectors = np.stack([self._probes[i].vector for i in which])
        shortlists = dict(zip(which, self._indexes.search(self._gallery, vectors, k), strict=True))
        self._learn(key for keys in shortlists.values() for key in keys)
        strange = {i: [key for key in keys if self._is_strange(key, i)] for i, keys in shortlists.items()}
        self._open(key for keys in strange.values() for key in keys)
        for i, keys in strange.items():
            opened = [key for key in keys if key in self._vectors]
            self._take(i, opened, k - (len(shortlists[i]) - len(opened)))

    def _is_strange(self, key: int, probe: int) -> bool:
        owner = self._owners[key]
        return owner is not None and owner not in self._found[probe]

    def _learn(self, keys: Iterable[int]) -> None:
        """Whose these references are; nobody's where they are gone."""
        new = sorted(set(keys) - self._owners.keys())
        self._owners |= dict.fromkeys(new) | self._store.owners(self._gallery, new)

    def _open(self, keys: Iterable[int]) -> None:
        self._vectors |= self._store.vectors(self._gallery, sorted(set(keys) - self._vectors.keys()))

    def _take(self, probe: int, keys: Sequence[int], certain: int) -> None:
        """Of these references, opened all, the nearest ``certain`` are nearer than any that were not looked at."""
        if not keys:
            return
        distances = squared_l2(self._probes[probe].vector[None], np.stack([self._vectors[key] for key in keys]))[0]
        order = np.argsort(distances, kind="stable")[: max(certain, 0)].tolist()
        for owner, place in fuse_minimum([self._owners[keys[i]] for i in order], distances[order].tolist()):
            assert owner is not None  # it was opened
            self._found[probe][owner] = float(distances[order[place]]), keys[order[place]]

    def _told(self, top_k: int) -> list[tuple[Candidate, ...]]:
        """The winners by their names."""
        winners = [list(found.values())[:top_k] for found in self._found]
        keys = sorted({key for found in winners for _, key in found})
        known = {reference.key: reference for reference in self._store.references_by_key(self._gallery, keys)}
        return [tuple(_candidate(known[key], value) for value, key in found if key in known) for found in winners]


def nearest_reference(
    store: ComparableStore, gallery: Gallery, keys: Sequence[int], probe: Template
) -> Candidate | None:
    """Of references that have these keys, the one nearest to the probe; None where all are gone meanwhile. Raises
    TemplateVersionMismatch."""
    require_version(gallery.template_version, probe.version)
    vectors = store.vectors(gallery, keys)
    if not vectors:
        return None
    there = list(vectors)
    distances = squared_l2(probe.vector[None], np.stack(list(vectors.values())))[0]
    for i in np.argsort(distances, kind="stable").tolist():
        for reference in store.references_by_key(gallery, [there[i]]):
            return _candidate(reference, float(distances[i]))
    return None


def _candidate(reference: Reference, distance: float) -> Candidate:
    return Candidate(reference.subject, reference.display_name, distance, reference.id)
