"""The heads that compete: each a way to make a head from the features of some people."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from training.features import Features, Floats, Labels, unit
from training.heads.baselines import (
    Projection,
    discriminants,
    linear_head,
    principal_components,
    rotated_sum,
    whitening,
)
from training.heads.moments import moments
from training.heads.recipe import HeadRecipe
from training.heads.triplets import inputs, train_head

Fitted: TypeAlias = Callable[[Features], Floats]
"""Features -> templates (n d), unit length; d is 128 but for the plain concatenation."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """name: as the table says it; fit: features of the training people -> what makes templates of others'."""

    name: str
    fit: Callable[[Features], Fitted]


def entrants(recipe: HeadRecipe) -> list[Entrant]:
    """Every alternative, the shipped recipe last."""
    both = (1.0,) * len(recipe.networks)
    named = " + ".join(recipe.networks)
    return [
        *(_alone(network, flip) for network in recipe.networks for flip in (False, True)),
        Entrant(f"{named}, concatenated (256-d)", lambda _: lambda features: inputs(features, recipe)),
        _projected("PCA", principal_components(both), recipe, 1.0),
        _projected("LDA, shrinkage 0.8", discriminants(0.8, both), recipe, 1.0),
        _projected("within-class whitening, shrinkage 0.6", whitening(0.6, both), recipe, 1.0),
        _projected("rotated sum, untrained", rotated_sum(recipe.share), recipe, recipe.centre),
        _trained("triplets on one network, leash 10", recipe.model_copy(update={"networks": recipe.networks[:1]})),
        _trained("triplets, no leash", recipe.model_copy(update={"leash": 0.0})),
        _trained("triplets, leash 1", recipe.model_copy(update={"leash": 1.0})),
        Entrant("triplets, mirror images as training data only", lambda people: _mirrors(people, recipe)),
        _trained(f"triplets, leash {recipe.leash:g} (shipped)", recipe),
    ]


def _alone(network: str, flip: bool) -> Entrant:
    name = f"{network}{' + mirror' if flip else ''}"
    return Entrant(name, lambda _: lambda features: features.unit(network, flip))


def _projected(name: str, projection: Projection, recipe: HeadRecipe, centre: float) -> Entrant:
    def fit(people: Features) -> Fitted:
        known = moments(inputs(people, recipe), people.subjects)
        head = linear_head(projection(known), known.mean, centre)
        return lambda features: unit(head(inputs(features, recipe)))

    return Entrant(name, fit)


def _trained(name: str, recipe: HeadRecipe) -> Entrant:
    def fit(people: Features) -> Fitted:
        head = train_head(inputs(people, recipe), people.subjects, recipe).at(recipe.centre)
        return lambda features: unit(head(inputs(features, recipe)))

    return Entrant(name, fit)


def _mirrors(people: Features, recipe: HeadRecipe) -> Fitted:
    """Trained on chips and on mirror images as photographs of their own; serving looks at the chip alone."""
    swapped = {network: type(sides)(sides.mirror, sides.chip) for network, sides in people.outputs.items()}
    rows = np.concatenate([inputs(each, recipe, flip=False) for each in (people, replace(people, outputs=swapped))])
    subjects: Labels = np.concatenate([people.subjects, people.subjects])
    head = train_head(rows, subjects, recipe).at(recipe.centre)
    return lambda features: unit(head(inputs(features, recipe, flip=False)))
