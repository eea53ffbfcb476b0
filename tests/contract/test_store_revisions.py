"""The revision log of core.ports.Store, by values, on every database."""

import numpy as np
import pytest

from facesvc.core.types import Vectors
from facesvc.storage.store import Store
from tests.support.databases import new_reference, unit_vectors


def rotated(store: Store, *seeds: int) -> Vectors:
    """The vectors of ``new_reference`` of these seeds, as the gallery's indexes hold them."""
    return store.revisions.issued(
        store.galleries.get("staff"), np.concatenate([unit_vectors(1, seed) for seed in seeds])
    )


def test_changes_from_the_start_are_what_lives(store: Store) -> None:
    references = store.references.add("staff", "ada", [new_reference(i) for i in range(4)])
    store.references.delete("staff", "ada", references[1].id)
    store.references.add("staff", "bob", [new_reference(9)])
    changes = store.revisions.changes(store.galleries.get("staff"), 0)
    assert changes.revision == 3
    assert changes.added.tolist() == [references[i].key for i in (0, 2, 3)] + [references[3].key + 1]
    np.testing.assert_allclose(changes.vectors, rotated(store, 0, 2, 3, 9), atol=1e-6, strict=True)
    assert changes.removed.tolist() == []


def test_changes_of_an_empty_gallery(store: Store) -> None:
    changes = store.revisions.changes(store.galleries.get("staff"), 0)
    assert (changes.revision, changes.added.shape, changes.vectors.shape, changes.removed.shape) == (
        0,
        (0,),
        (0, 128),
        (0,),
    )


def test_changes_since_a_revision(store: Store) -> None:
    old = store.references.add("staff", "ada", [new_reference(1), new_reference(2)])
    since = store.galleries.get("staff").revision
    brief, lasting = store.references.add("staff", "ada", [new_reference(3), new_reference(4)])
    store.references.delete("staff", "ada", brief.id)
    store.references.delete("staff", "ada", old[0].id)
    changes = store.revisions.changes(store.galleries.get("staff"), since)
    assert (changes.revision, changes.added.tolist()) == (4, [lasting.key])
    assert changes.removed.tolist() == [old[0].key, brief.key], "an index cut short may hold it"
    np.testing.assert_allclose(changes.vectors, rotated(store, 4), atol=1e-6, strict=True)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 99])
def test_steps_lead_where_one_leap_does_whatever_is_removed_on_the_way(limit: int, store: Store) -> None:
    stored = [
        store.references.add("staff", f"subject {i}", [new_reference(i), new_reference(50 + i)]) for i in range(6)
    ]
    removals = iter([stored[0][0], stored[5][1], stored[2][0]])
    held: dict[int, bytes] = {}
    revision, steps = 0, []
    while revision < store.galleries.get("staff").revision:
        changes = store.revisions.changes(store.galleries.get("staff"), revision, limit)
        for key in changes.removed.tolist():
            held.pop(key, None)
        held |= {k: v.tobytes() for k, v in zip(changes.added.tolist(), changes.vectors, strict=True)}
        steps.append(len(changes.added))
        revision = changes.revision
        if removal := next(removals, None):
            store.references.delete("staff", removal.subject, removal.id)
    everything = store.revisions.changes(store.galleries.get("staff"), 0)
    assert held == {k: v.tobytes() for k, v in zip(everything.added.tolist(), everything.vectors, strict=True)}
    assert max(steps) <= max(limit + 1, 2), "whole writes of two"
    assert len(held) == 9


def test_changes_from_any_revision_lead_to_the_same_references(store: Store) -> None:
    rng = np.random.default_rng(5)
    states: list[dict[int, bytes]] = [{}]
    while len(states) < 40:
        ids = [
            (s.id, r.id)
            for s in store.subjects.list("staff", 99).items
            for r in store.references.list("staff", s.id, 99).items
        ]
        action = rng.integers(4)
        if action == 0 and ids:
            store.references.delete("staff", *ids[rng.integers(len(ids))])
        elif action == 1 and ids and rng.random() < 0.3:
            store.subjects.delete("staff", ids[rng.integers(len(ids))][0])
        else:
            new = [new_reference(int(seed)) for seed in rng.integers(1, 10**6, 1 + rng.integers(3))]
            store.references.add("staff", f"subject {rng.integers(5)}", new)
        everything = store.revisions.changes(store.galleries.get("staff"), 0)
        states.append({k: v.tobytes() for k, v in zip(everything.added.tolist(), everything.vectors, strict=True)})
        assert everything.revision == len(states) - 1
    for revision, state in enumerate(states):
        changes = store.revisions.changes(store.galleries.get("staff"), revision)
        left = {key: vector for key, vector in state.items() if key not in changes.removed}
        assert left.keys() == state.keys() & states[-1].keys()
        assert not states[-1].keys() & set(changes.removed.tolist())
        added = {k: v.tobytes() for k, v in zip(changes.added.tolist(), changes.vectors, strict=True)}
        assert left | added == states[-1]
        assert not left.keys() & added.keys()
