"""P identities x K photographs: the same batches however many processes share them."""

from collections import Counter

import numpy as np
import pytest

from facesvc.errors import RequestError
from training.data.sampling import IdentityBatches

COUNTS = (5, 1, 3, 8, 2, 4, 6)
"""Photographs of identities 0..6; identity 1 has one only."""
LABELS = np.repeat(np.arange(7), COUNTS)


def identities(batch: list[int], photographs: int) -> list[int]:
    rows = LABELS[batch].reshape(-1, photographs)
    assert (rows == rows[:, :1]).all(), "each identity's photographs stand in a row"
    return rows[:, 0].tolist()


def test_batches_hold_p_identities_with_k_different_photographs() -> None:
    for batch in IdentityBatches(LABELS, 4, 3, batches=50, seed=0):
        chosen = identities(batch, 3)
        assert len(batch) == 12
        assert len(set(chosen)) == 4
        for identity, own in zip(chosen, np.reshape(batch, (4, 3)), strict=True):
            assert len(set(own.tolist())) == min(3, COUNTS[identity])


def test_who_has_too_few_photographs_gives_each_as_evenly_as_can_be() -> None:
    for batch in IdentityBatches(LABELS, 6, 7, batches=20, seed=1):
        uses = Counter(batch)
        for identity in identities(batch, 7):
            own = [uses[index] for index in np.flatnonzero(identity == LABELS)]
            assert sum(own) == 7
            assert max(own) - min(own) <= 1


def test_identities_take_turns() -> None:
    """Six can be drawn, three a batch: every two batches hold all of them, whatever their numbers of photographs."""
    batches = [identities(batch, 2) for batch in IdentityBatches(LABELS, 3, 2, batches=40, seed=2)]
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert sorted(first + second) == [0, 2, 3, 4, 5, 6]
    assert len({tuple(sorted(batch)) for batch in batches}) > 10, "rounds differ"


def test_all_photographs_come_about_equally_often() -> None:
    uses = Counter(index for batch in IdentityBatches(LABELS, 6, 2, batches=400, seed=3) for index in batch)
    eight = [uses[index] for index in np.flatnonzero(LABELS == 3)]
    assert sum(eight) == 800
    assert eight == pytest.approx([100] * 8, abs=40)  # 4 standard deviations of a binomial of 400 with p = 1/4: 35


@pytest.mark.parametrize("world", [2, 3, 6])
def test_processes_together_see_what_one_would(world: int) -> None:
    whole = IdentityBatches(LABELS, 6, 2, batches=10, seed=4)
    parts = [IdentityBatches(LABELS, 6, 2, batches=10, seed=4, rank=rank, world=world) for rank in range(world)]
    for sampler in (whole, *parts):
        sampler.set_epoch(5)
    for batch, *shares in zip(whole, *parts, strict=True):
        assert [index for share in shares for index in share] == batch


def test_a_batch_depends_on_seed_epoch_and_step_alone() -> None:
    sampler = IdentityBatches(LABELS, 3, 2, batches=10, seed=4)
    first = list(sampler)
    assert list(sampler) == first
    assert list(IdentityBatches(LABELS, 3, 2, batches=7, seed=4)) == first[:7]
    assert sampler.batch(6) == first[6]
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(IdentityBatches(LABELS, 3, 2, batches=10, seed=5)) != first


def test_labels_need_no_order() -> None:
    """Sorted or not, the same identities meet, since they are numbered by their labels."""
    shuffled = np.random.default_rng(0).permutation(LABELS)
    pairs = zip(IdentityBatches(LABELS, 3, 2, 10, 6), IdentityBatches(shuffled, 3, 2, 10, 6), strict=True)
    assert all(LABELS[one].tolist() == shuffled[other].tolist() for one, other in pairs)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"identities": 7}, "6 people have two photographs or more: too few for 7"),
        ({"identities": 1}, "two identities"),
        ({"photographs": 1}, "two photographs"),
        ({"world": 4}, "can't be shared out evenly among 4"),
        ({"world": 2, "rank": 2}, "can't be shared out"),
    ],
)
def test_impossible_batches_are_refused(arguments: dict[str, int], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        IdentityBatches(LABELS, **({"identities": 6, "photographs": 2, "batches": 1, "seed": 0} | arguments))
