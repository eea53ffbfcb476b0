"""How far two models agree, counted by hand."""

import numpy as np
import pytest

from facesvc.core.agreement import Comparison, Disagreement, Held, Table, sampled
from facesvc.core.compare import squared_l2
from facesvc.core.metrics import wilson
from facesvc.core.types import Vectors


def on_circle(*degrees: float) -> Vectors:
    """(n 2) unit vectors: two are at 2 - 2 cos(difference)."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_a_handful_by_hand() -> None:
    """Subjects 0 0 1 1 at 0 10 90 100 degrees; the new model moves the last to 21, next to subject 0."""
    held = Held(list("abcd"), np.array([0, 0, 1, 1]), on_circle(0, 10, 90, 100), on_circle(0, 10, 90, 21))
    found = Comparison(held, (0.5, 0.5), keep=2).run()
    assert found.mated == Table(both=1, old_only=1)  # a-b; c-d
    assert found.non_mated == Table(new_only=2, neither=2)  # a-d, b-d; a-c, b-c
    assert found.rank_1 == Table(both=3, old_only=1)  # d's nearest has become b
    distance = squared_l2(on_circle(0, 10, 90, 100), on_circle(0, 10, 90, 100))
    moved = squared_l2(on_circle(0, 10, 90, 21), on_circle(0, 10, 90, 21))
    assert [told for _, told in found.worst] == [
        Disagreement(("a", "d"), False, distance[0, 3], moved[0, 3]),
        Disagreement(("b", "d"), False, distance[1, 3], moved[1, 3]),
    ]


def test_shares_and_their_intervals() -> None:
    table = Table(both=90, old_only=3, new_only=1, neither=6)
    assert (table.total, table.changed, table.interval) == (100, 0.04, wilson(4, 100))
    assert (Table().changed, Table().interval) == (None, (0.0, 1.0))


@pytest.mark.parametrize("count", [3, 16, 50])
def test_rows_at_a_time_are_all_pairs(count: int) -> None:
    chance = np.random.default_rng(count)
    subjects = chance.integers(0, 5, count)
    old, new = (chance.normal(size=(count, 8)).astype(np.float32) / 3 for _ in range(2))
    found = Comparison(Held([str(i) for i in range(count)], subjects, old, new), (1.5, 1.7), keep=0).run()
    a, b = np.triu_indices(count, 1)
    mated = subjects[a] == subjects[b]
    yes, now = squared_l2(old, old)[a, b] < 1.5, squared_l2(new, new)[a, b] < 1.7
    for told, which in ((found.mated, mated), (found.non_mated, ~mated)):
        assert told == Table(
            int((yes & now & which).sum()),
            int((yes & ~now & which).sum()),
            int((~yes & now & which).sum()),
            int((~yes & ~now & which).sum()),
        )
    assert found.worst == []


def test_a_sample_is_of_whole_subjects_and_by_its_seed() -> None:
    keys, subjects = np.arange(100, 130), np.repeat(np.arange(10), 3)
    drawn = sampled(keys, subjects, 7, seed=1)
    assert len(drawn) == 9
    assert {subject: int((subjects[np.isin(keys, drawn)] == subject).sum()) for subject in range(10)} == {
        subject: 3 if subject in set(subjects[np.isin(keys, drawn)].tolist()) else 0 for subject in range(10)
    }
    assert sampled(keys, subjects, 7, seed=1) == drawn
    assert sampled(keys, subjects, 7, seed=2) != drawn
    assert sampled(keys, subjects, 1000, seed=1) == keys.tolist()
    assert sampled(keys[:0], subjects[:0], 7, seed=1) == []
