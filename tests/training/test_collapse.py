"""When training has collapsed, and when it only looks like it."""

import pytest

from training.errors import TrainingCollapsed, TrainingDiverged
from training.losses import CollapseWatch


def test_a_loss_at_the_margin_with_all_vectors_at_one_point_is_a_collapse() -> None:
    watch = CollapseWatch(margin=0.2, steps=3)
    watch.see(loss=0.201, triplets=96, spread=1e-4)
    watch.see(loss=0.199, triplets=96, spread=1e-5)
    with pytest.raises(
        TrainingCollapsed, match=r"for 3 steps .* at the margin \(0.200, margin 0.2\).*1.0e-06"
    ) as caught:
        watch.see(loss=0.2, triplets=96, spread=1e-6)
    for remedy in ("lower rate", "semi-hard first", "more identities per batch"):
        assert remedy in caught.value.detail


def test_no_triplet_at_one_point_counts_too() -> None:
    watch = CollapseWatch(margin=0.2, steps=1)
    with pytest.raises(TrainingCollapsed):
        watch.see(loss=0.0, triplets=0, spread=0.0)


@pytest.mark.parametrize(
    ("loss", "triplets", "spread"),
    [
        pytest.param(0.2, 96, 0.5, id="at the margin, vectors apart: hard negatives early on"),
        pytest.param(0.1, 96, 1e-4, id="at one point, but moving apart"),
        pytest.param(0.0, 0, 2.0, id="all solved"),
    ],
)
def test_what_is_no_collapse(loss: float, triplets: int, spread: float) -> None:
    watch = CollapseWatch(margin=0.2, steps=2)
    for _ in range(5):
        watch.see(loss, triplets, spread)
    assert watch.stuck == 0


def test_one_good_step_starts_the_count_again() -> None:
    watch = CollapseWatch(margin=0.2, steps=3)
    for loss in (0.2, 0.2, 0.1, 0.2):
        watch.see(loss, triplets=96, spread=1e-4)
    assert watch.stuck == 1


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_a_divergence(loss: float) -> None:
    with pytest.raises(TrainingDiverged, match="lower the rate"):
        CollapseWatch(margin=0.2).see(loss, triplets=96, spread=1.0)
