"""Mean and scatter of features over people, each person counting once however many photographs they have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.features import Floats, Labels

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """mean: (k,) of the people's means; within, between: (k k) covariance of photographs about their person's mean,
    and of the people's means."""

    mean: Matrix
    within: Matrix
    between: Matrix

    @property
    def total(self) -> Matrix:
        return self.within + self.between


def moments(features: Floats, subjects: Labels) -> Moments:
    """features (n k), subjects (n,)."""
    rows = features.astype(np.float64)
    people, counts = np.unique(subjects, return_inverse=True, return_counts=True)[1:]
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, people, rows)
    means /= counts[:, None]
    residuals = rows - means[people]
    shares = 1 / (len(counts) * np.maximum(counts - 1, 1))[people]  # unbiased for each person, then their mean
    return Moments(means.mean(axis=0), (residuals * shares[:, None]).T @ residuals, np.cov(means.T))
