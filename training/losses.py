"""Triplet loss on the unit sphere with online mining (FaceNet: Schroff, Kalenichenko, Philbin 2015, section 3).

A triplet is an anchor a, a positive p (the same subject, another photograph) and a negative n (another subject). Its
loss is max(0, d(a, p) - d(a, n) + margin) with d the squared L2 distance. Which triplets of a batch are used is a rule:

- ``semi-hard`` (FaceNet, section 3.2): for every anchor-positive pair one negative of the open window
  d(a, p) < d(a, n) < d(a, p) + margin. FaceNet doesn't say which of several: the nearest to the anchor is taken, so
  that mining needs no chance. There is no fallback: a pair whose window is empty gives no triplet (it is either solved,
  or all negatives are nearer than its positive, as with a wrong label).
- ``hard`` (batch-hard: Hermans, Beyer, Leibe 2017): for every anchor its farthest positive and its nearest negative.
- ``all`` (OpenFace: Amos, Ludwiczuk, Satyanarayanan 2016): every triplet of the batch.

Hard and all are pytorch-metric-learning's; its semi-hard miners keep all negatives of the window or take the hardest
positive only, neither of which is FaceNet's rule.

Tells when triplet training has collapsed: every vector at one point, the loss stuck at its margin.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_triplets_indices
from torch import Tensor, nn

from facesvc.errors import RequestError
from training.errors import TrainingCollapsed, TrainingDiverged

Rule = Literal["semi-hard", "hard", "all"]
Triplets = tuple[Tensor, Tensor, Tensor]
"""Rows of anchors, positives and negatives in the batch: three (t,) int64."""


def squared_distances(vectors: Tensor) -> Tensor:
    """Squared L2 between all rows, (n d) float -> (n n) >= 0, by the inner product: to about 1e-6 in float32."""
    squares = vectors.square().sum(1)
    return (squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T).clamp(min=0)


def mine(distances: Tensor, labels: Tensor, margin: float, rule: Rule) -> Triplets:
    """The triplets that ``rule`` (see above) chooses. distances: (n n); labels: (n,) integers, equal for one subject.

    Raises RequestError for an unknown rule.
    """
    with torch.no_grad():
        if rule == "semi-hard":
            return _semi_hard(distances, labels, margin)
        if rule == "hard":
            miner = BatchHardMiner(distance=_Given(normalize_embeddings=False))
            anchors, positives, negatives = miner(distances, labels)
            return anchors, positives, negatives
        if rule == "all":
            anchors, positives, negatives = get_all_triplets_indices(labels)
            return anchors, positives, negatives
    raise RequestError(f"unknown mining rule {rule}; there are {', '.join(get_args(Rule))}")


def _semi_hard(distances: Tensor, labels: Tensor, margin: float) -> Triplets:
    same = labels[:, None] == labels[None, :]
    anchors, positives = torch.where(same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device))
    near, far = distances[anchors], distances[anchors, positives][:, None]  # (pairs n), (pairs 1)
    window = ~same[anchors] & (far < near) & (near < far + margin)
    nearest = near.masked_fill(~window, torch.inf).min(1)
    found = nearest.values.isfinite()
    return anchors[found], positives[found], nearest.indices[found]


class _Given(BaseDistance):
    """Lets a miner of the library work on distances that are known already."""

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor | None) -> Tensor:
        return query_emb


def candidates(labels: Tensor, rule: Rule) -> int:
    """How many triplets the rule could give at most: one per anchor-positive pair (semi-hard), one per anchor (hard),
    or all there are."""
    same = labels[:, None] == labels[None, :]
    positives, negatives = same.sum(1) - 1, (~same).sum(1)
    if rule == "all":
        return int((positives * negatives).sum())
    usable = (positives > 0) & (negatives > 0)
    return int(usable.sum()) if rule == "hard" else int(positives[usable].sum())


class TripletResult(NamedTuple):
    """loss: () with gradient; active: share of the candidates (see ``candidates``) that gave a triplet with a loss
    above 0, 0..1; triplets: mined ones; spread: mean squared distance of two vectors of the batch, 0..4."""

    loss: Tensor
    active: float
    triplets: int
    spread: float


class TripletLoss(nn.Module):
    """Mean loss of the mined triplets whose loss is above 0 (Hermans et al. 2017: averaging solved ones in as well
    makes the gradient fade as training goes on)."""

    def __init__(self, margin: float = 0.2, rule: Rule = "semi-hard") -> None:
        super().__init__()
        self.margin = margin
        self.rule: Rule = rule

    def forward(self, vectors: Tensor, labels: Tensor) -> TripletResult:
        """vectors: (n d) float32 of unit length; labels: (n,) integers."""
        distances = squared_distances(vectors)
        anchors, positives, negatives = mine(distances, labels, self.margin, self.rule)
        losses = (distances[anchors, positives] - distances[anchors, negatives] + self.margin).relu()
        active = int((losses > 0).sum())
        possible = candidates(labels, self.rule)
        n = len(labels)
        return TripletResult(
            loss=losses.sum() / max(active, 1),
            active=active / possible if possible else 0.0,
            triplets=len(anchors),
            spread=float(distances.detach().sum() / max(n * (n - 1), 1)),
        )


@dataclass
class CollapseWatch:
    """Counts steps at which the loss is within ``tolerance`` (a share) of the margin, or there is no triplet, while the
    vectors' mean squared distance is under ``spread``; ``steps`` of them in a row are a collapse.

    At one point all distances are 0 and every triplet costs exactly the margin, with no gradient that leads away
    (FaceNet, section 3.2, on hardest negatives early in training); semi-hard mining, whose window is open, finds no
    triplet at all where the distances are equal to the last bit. A loss near the margin alone is no collapse: with
    hard negatives it is usual early on, with the vectors well apart.
    """

    margin: float
    steps: int = 50
    tolerance: float = 0.05
    spread: float = 0.01
    stuck: int = 0

    def see(self, loss: float, triplets: int, spread: float) -> None:
        """To be told of each step. Raises TrainingCollapsed, or TrainingDiverged where the loss is not finite."""
        if not abs(loss) < float("inf"):
            raise TrainingDiverged(f"the loss is {loss}: lower the rate, clip gradients harder or warm up longer")
        near = triplets == 0 or abs(loss - self.margin) <= self.tolerance * self.margin
        self.stuck = self.stuck + 1 if near and spread < self.spread else 0
        if self.stuck >= self.steps:
            raise self._collapsed(loss, spread)

    def _collapsed(self, loss: float, spread: float) -> TrainingCollapsed:
        return TrainingCollapsed(
            f"for {self.stuck} steps the loss has stayed at the margin ({loss:.3f}, margin {self.margin:g}) with all "
            f"vectors at nearly one point (mean squared distance {spread:.1e}). Usual causes: a rate too high, hard "
            "negatives from the first step, batches too small to hold a useful negative. Remedies: a lower rate or "
            "longer warm-up, rule semi-hard first, more identities per batch"
        )
