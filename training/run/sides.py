"""Which chips of an aligned set a run trains on, and which people it holds out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import ValidationConfig
from training.data.splits import TRAIN, VALIDATION, split

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sides:
    """labels: (n,), a number a subject, of the whole set; train, validation: (m,) rows of the set, ascending."""

    labels: Rows
    train: Rows
    validation: Rows

    @classmethod
    def of(cls, subjects: Sequence[str] | NDArray[np.str_], config: ValidationConfig) -> "Sides":
        """subjects: (n,) names. Sides by ``training.data.splits``; of the held-out chips at most
        ``config.photographs``."""
        names, labels = np.unique(np.asarray(subjects), return_inverse=True)
        side = split([str(name) for name in names], config.split_seed, config.share)
        sides = np.array([side[str(name)] for name in names])[labels]
        held_out = _evenly(np.flatnonzero(sides == VALIDATION), config.photographs)
        return cls(labels.astype(np.int64), np.flatnonzero(sides == TRAIN), held_out)

    @property
    def can_validate(self) -> bool:
        """Whether the held-out chips hold a mated and a non-mated pair."""
        people = len(np.unique(self.labels[self.validation]))
        return 1 < people < len(self.validation)


def _evenly(rows: Rows, most: int) -> Rows:
    """At most ``most`` of the rows, spread evenly over them."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
