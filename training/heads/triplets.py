"""A head trained with triplets on frozen networks' features, on a leash.

A few hundred people are far too few to learn 128 x 256 numbers that hold for strangers: let loose, the head overfits
within seconds. So it starts from the rotated sum of the networks (``baselines.rotated_sum``) and pays for every step
away from it: ridge regression's shrinkage, towards a good start instead of towards zero (the L2-SP penalty of Li,
Grandvalet and Davoine 2018, ICML).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from facesvc.models.head import LinearHead
from training.data.sampling import IdentityBatches
from training.features import Features, Floats, Labels, unit
from training.heads.baselines import linear_head, rotated_sum
from training.heads.moments import Matrix, moments
from training.heads.recipe import HeadRecipe
from training.losses import TripletLoss


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """projection (128 k) and the mean (k,) of the people it was trained on; losses, active: (steps,) triplet loss and
    share of active triplets at each step."""

    projection: Matrix
    mean: Matrix
    losses: Floats
    active: Floats

    def at(self, centre: float) -> LinearHead:
        return linear_head(self.projection, self.mean, centre)


def inputs(features: Features, recipe: HeadRecipe, flip: bool = True) -> Floats:
    """(n k) unit length: what the fusion pack's head is given, its networks' weights being 1."""
    return unit(np.concatenate([features.unit(network, flip) for network in recipe.networks], axis=1))


def train_head(
    rows: Floats, subjects: Labels, recipe: HeadRecipe, advance: Callable[[], object] = lambda: None
) -> TrainedHead:
    """rows (n k) as of ``inputs``, subjects (n,); ``advance`` is called after each step. The same on every run.

    Raises RequestError where there are fewer people than a batch takes.
    """
    known = moments(rows, subjects)
    start = torch.tensor(rotated_sum(recipe.share)(known), dtype=torch.float32)
    centred = torch.from_numpy(rows) - recipe.centre * torch.tensor(known.mean, dtype=torch.float32)
    labels = torch.from_numpy(np.unique(subjects, return_inverse=True)[1])
    sampler = IdentityBatches(labels.numpy(), recipe.identities, recipe.photographs, recipe.steps, recipe.seed)
    weight = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(recipe.steps, 1))
    loss_of, curve = TripletLoss(recipe.margin, recipe.rule), []
    for batch in sampler:
        result = loss_of(normalize(centred[batch] @ weight.T, dim=1), labels[batch])
        strayed = (weight - start).square().sum() / len(weight)
        optimiser.zero_grad()
        (result.active * result.loss + recipe.leash * strayed).backward()
        optimiser.step()
        schedule.step()
        curve.append((float(result.loss.detach()), result.active))
        advance()
    losses, active = np.array(curve, np.float32).reshape(-1, 2).T
    return TrainedHead(weight.detach().numpy().astype(np.float64), known.mean, losses, active)
