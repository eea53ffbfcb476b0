"""The revision log of core.ports.ReferenceStore, by values, on every database."""

import numpy as np
import pytest

from facesvc.core.types import Vectors
from facesvc.storage.references import SqlReferenceStore
from tests.support.databases import new_reference, unit_vectors


def rotated(store: SqlReferenceStore, *seeds: int) -> Vectors:
    """The vectors of ``new_reference`` of these seeds, as the gallery's indexes hold them."""
    return store.issued(store.gallery("staff"), np.concatenate([unit_vectors(1, seed) for seed in seeds]))


def test_changes_from_the_start_are_what_lives(store: SqlReferenceStore) -> None:
    references = store.add_references("staff", "ada", [new_reference(i) for i in range(4)])
    store.delete_reference("staff", "ada", references[1].id)
    store.add_references("staff", "bob", [new_reference(9)])
    changes = store.changes(store.gallery("staff"), 0)
    assert changes.revision == 3
    assert changes.added.tolist() == [references[i].key for i in (0, 2, 3)] + [references[3].key + 1]
    np.testing.assert_allclose(changes.vectors, rotated(store, 0, 2, 3, 9), atol=1e-6, strict=True)
    assert changes.removed.tolist() == []


def test_changes_of_an_empty_gallery(store: SqlReferenceStore) -> None:
    changes = store.changes(store.gallery("staff"), 0)
    assert (changes.revision, changes.added.shape, changes.vectors.shape, changes.removed.shape) == (
        0,
        (0,),
        (0, 128),
        (0,),
    )


def test_changes_since_a_revision(store: SqlReferenceStore) -> None:
    old = store.add_references("staff", "ada", [new_reference(1), new_reference(2)])
    since = store.gallery("staff").revision
    brief, lasting = store.add_references("staff", "ada", [new_reference(3), new_reference(4)])
    store.delete_reference("staff", "ada", brief.id)
    store.delete_reference("staff", "ada", old[0].id)
    changes = store.changes(store.gallery("staff"), since)
    assert (changes.revision, changes.added.tolist()) == (4, [lasting.key])
    assert changes.removed.tolist() == [old[0].key, brief.key], "an index cut short may hold it"
    np.testing.assert_allclose(changes.vectors, rotated(store, 4), atol=1e-6, strict=True)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 99])
def test_steps_lead_where_one_leap_does_whatever_is_removed_on_the_way(limit: int, store: SqlReferenceStore) -> None:
    stored = [
        store.add_references("staff", f"subject {i}", [new_reference(i), new_reference(50 + i)]) for i in range(6)
    ]
    removals = iter([stored[0][0], stored[5][1], stored[2][0]])
    held: dict[int, bytes] = {}
    revision, steps = 0, []
    while revision < store.gallery("staff").revision:
        changes = store.changes(store.gallery("staff"), revision, limit)
        for key in changes.removed.tolist():
            held.pop(key, None)
        held |= {k: v.tobytes() for k, v in zip(changes.added.tolist(), changes.vectors, strict=True)}
        steps.append(len(changes.added))
        revision = changes.revision
        if removal := next(removals, None):
            store.delete_reference("staff", removal.subject, removal.id)
    everything = store.changes(store.gallery("staff"), 0)
    assert held == {k: v.tobytes() for k, v in zip(everything.added.tolist(), everything.vectors, strict=True)}
    assert max(steps) <= max(limit + 1, 2), "whole writes of two"
    assert len(held) == 9


def test_changes_from_any_revision_lead_to_the_same_references(store: SqlReferenceStore) -> None:
    rng = np.random.default_rng(5)
    states: list[dict[int, bytes]] = [{}]
    while len(states) < 40:
        ids = [
            (s.id, r.id) for s in store.subjects("staff", 99).items for r in store.references("staff", s.id, 99).items
        ]
        action = rng.integers(4)
        if action == 0 and ids:
            store.delete_reference("staff", *ids[rng.integers(len(ids))])
        elif action == 1 and ids and rng.random() < 0.3:
            store.delete_subject("staff", ids[rng.integers(len(ids))][0])
        else:
            new = [new_reference(int(seed)) for seed in rng.integers(1, 10**6, 1 + rng.integers(3))]
            store.add_references("staff", f"subject {rng.integers(5)}", new)
        everything = store.changes(store.gallery("staff"), 0)
        states.append({k: v.tobytes() for k, v in zip(everything.added.tolist(), everything.vectors, strict=True)})
        assert everything.revision == len(states) - 1
    for revision, state in enumerate(states):
        changes = store.changes(store.gallery("staff"), revision)
        left = {key: vector for key, vector in state.items() if key not in changes.removed}
        assert left.keys() == state.keys() & states[-1].keys()
        assert not states[-1].keys() & set(changes.removed.tolist())
        added = {k: v.tobytes() for k, v in zip(changes.added.tolist(), changes.vectors, strict=True)}
        assert left | added == states[-1]
        assert not left.keys() & added.keys()
