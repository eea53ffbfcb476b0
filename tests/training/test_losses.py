"""Triplet mining and loss against their definitions written out longhand."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from facesvc.errors import RequestError
from training.losses import TripletLoss, candidates, mine, squared_distances

MARGIN = 0.2
RULES = ("semi-hard", "hard", "all")


def longhand(distances: Tensor, labels: Tensor, margin: float, rule: str) -> set[tuple[int, int, int]]:
    """The rules as their papers put them, one comparison at a time."""
    d, y, n = distances.tolist(), labels.tolist(), len(labels)
    triplets = {(a, p, q) for a, p, q in product(range(n), repeat=3) if a != p and y[a] == y[p] and y[a] != y[q]}
    if rule == "all":
        return triplets
    if rule == "hard":
        anchors = {a for a, _, _ in triplets}
        farthest = {a: max((d[a][p], -p) for b, p, _ in triplets if b == a) for a in anchors}
        nearest = {a: min((d[a][q], q) for b, _, q in triplets if b == a) for a in anchors}
        return {(a, -farthest[a][1], nearest[a][1]) for a in anchors}
    window = [(a, p, q) for a, p, q in triplets if d[a][p] < d[a][q] < d[a][p] + margin]
    pairs = {(a, p) for a, p, _ in window}
    return {(a, p, min((d[a][q], q) for b, r, q in window if (b, r) == (a, p))[1]) for a, p in pairs}


def mined(distances: Tensor, labels: Tensor, margin: float, rule: str) -> list[tuple[int, ...]]:
    triplets = mine(distances, labels, margin, rule)  # type: ignore[arg-type]
    return list(zip(*(index.tolist() for index in triplets), strict=True))


def batch(seed: int, people: int, photographs: int, noise: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(people).repeat_interleave(photographs)
    centres = torch.randn(people, 128, generator=generator)
    vectors = centres[labels] + noise * torch.randn(len(labels), 128, generator=generator)
    return torch.nn.functional.normalize(vectors), labels


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), people=st.integers(1, 4), photographs=st.integers(1, 3), noise=st.floats(0.3, 4))
def test_mines_what_the_rule_says_longhand(rule: str, seed: int, people: int, photographs: int, noise: float) -> None:
    vectors, labels = batch(seed, people, photographs, noise)
    distances = squared_distances(vectors)
    found = mined(distances, labels, MARGIN, rule)
    assert len(found) == len(set(found))
    assert set(found) == longhand(distances, labels, MARGIN, rule)


def test_semi_hard_takes_the_nearest_negative_of_the_open_window() -> None:
    """One anchor (0), one positive (1) at 0.5; negatives nearer than the positive, at it, in the window twice, at the
    window's end, beyond it."""
    to_anchor = torch.tensor([0.0, 0.5, 0.4, 0.5, 0.6, 0.65, 0.75, 1.5])
    distances = torch.full((8, 8), 4.0)
    distances[0], distances[:, 0] = to_anchor, to_anchor
    labels = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    assert mined(distances, labels, 0.25, "semi-hard") == [(0, 1, 4)]


@pytest.mark.parametrize("negative", [0.3, 0.5, 0.75, 2.0])
def test_semi_hard_has_no_fallback(negative: float) -> None:
    distances = torch.tensor([[0.0, 0.5, negative], [0.5, 0.0, 3.0], [negative, 3.0, 0.0]])
    assert mined(distances, torch.tensor([0, 0, 1]), 0.25, "semi-hard") == []


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(RequestError, match="unknown mining rule soft; there are semi-hard, hard, all"):
        mine(torch.zeros(2, 2), torch.tensor([0, 1]), MARGIN, "soft")  # type: ignore[arg-type]


@pytest.mark.parametrize(("rule", "expected"), [("semi-hard", 8), ("hard", 5), ("all", 26)])
def test_candidates_by_hand(rule: str, expected: int) -> None:
    """People of 3, 2 and 1 photographs: 6 + 2 pairs, 5 anchors with a positive, 6 x 3 + 2 x 4 triplets."""
    assert candidates(torch.tensor([0, 0, 0, 1, 1, 2]), rule) == expected  # type: ignore[arg-type]
    assert candidates(torch.tensor([0, 0, 0]), rule) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_loss_and_its_gradient_longhand(rule: str, noise: float) -> None:
    vectors, labels = batch(7, 4, 3, noise)
    vectors, labels = vectors.double().requires_grad_(), labels
    result = TripletLoss(MARGIN, rule)(vectors, labels)  # type: ignore[arg-type]
    terms = [
        (vectors[a] - vectors[p]).square().sum() - (vectors[a] - vectors[n]).square().sum() + MARGIN
        for a, p, n in sorted(longhand(squared_distances(vectors.detach()), labels, MARGIN, rule))
    ]
    positive = [term for term in terms if term > 0]
    expected = torch.stack(positive).mean() if positive else 0 * vectors.sum()
    assert result.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert result.triplets == len(terms)
    assert result.active == len(positive) / candidates(labels, rule)  # type: ignore[arg-type]
    (ours,) = torch.autograd.grad(result.loss, vectors)
    (theirs,) = torch.autograd.grad(expected, vectors)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_a_batch_without_triplets_costs_nothing_and_has_a_gradient() -> None:
    vectors = torch.eye(128)[:4].requires_grad_()
    result = TripletLoss()(vectors, torch.arange(4))
    result.loss.backward()
    assert (result.loss.item(), result.active, result.triplets) == (0.0, 0.0, 0)
    assert vectors.grad is not None
    assert vectors.grad.abs().max().item() == 0.0


def test_spread_is_the_mean_squared_distance_of_two_vectors() -> None:
    orthogonal = torch.eye(128)[:4]
    assert TripletLoss()(orthogonal, torch.tensor([0, 0, 1, 1])).spread == pytest.approx(2.0)
    assert TripletLoss()(orthogonal[:1].expand(4, -1), torch.tensor([0, 0, 1, 1])).spread == 0.0


def test_squared_distances_of_known_vectors() -> None:
    angle = math.radians(60)
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    expected = torch.tensor([[0.0, 2, 4, 1], [2, 0, 2, 2 - 3**0.5], [4, 2, 0, 3], [1, 2 - 3**0.5, 3, 0]])
    torch.testing.assert_close(squared_distances(vectors), expected, atol=1e-6, rtol=0)


def test_at_one_point_every_rule_but_semi_hard_costs_the_margin() -> None:
    """Semi-hard's window is open: no negative is farther than the positive, so a collapsed batch has no triplet."""
    vectors, labels = torch.eye(128)[:1].expand(6, -1), torch.tensor([0, 0, 1, 1, 2, 2])
    assert TripletLoss(MARGIN, "hard")(vectors, labels).loss.item() == pytest.approx(MARGIN)
    assert TripletLoss(MARGIN, "all")(vectors, labels).loss.item() == pytest.approx(MARGIN)
    assert TripletLoss(MARGIN, "semi-hard")(vectors, labels).triplets == 0
