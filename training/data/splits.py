"""Identity-disjoint splits by hash: a person's side is the same in whatever order, and with whatever others, they come.

So a data set can grow, and sets can be joined, without anyone wandering from training to validation. The price: the
shares are met on average, as by a throw of dice per person.
"""

import hashlib
from collections.abc import Iterable

from facesvc.errors import RequestError

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def share(subject: str, seed: int) -> float:
    """Uniform in [0, 1): the first 53 bits (all that a double holds) of SHA-256 of ``seed/subject`` in UTF-8."""
    digest = hashlib.sha256(f"{seed}/{subject}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split(subjects: Iterable[str], seed: int, validation: float = 0.2, test: float = 0.0) -> dict[str, str]:
    """Subject -> "train", "validation" or "test". validation, test: expected shares of the subjects, 0..1.

    A changed ``test`` moves nobody in or out of validation. Raises RequestError for shares that leave no training.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise RequestError(f"shares of {validation:g} for validation and {test:g} for test leave nobody to train on")
    return {subject: _side(share(subject, seed), validation, test) for subject in subjects}


def _side(position: float, validation: float, test: float) -> str:
    if position < validation:
        return VALIDATION
    return TEST if position < validation + test else TRAIN


def folds(subjects: Iterable[str], k: int, seed: int) -> dict[str, int]:
    """Subject -> fold 0..k-1, drawn apart from ``split``'s, so that the training side can be folded with one seed.

    Raises RequestError for fewer than two folds.
    """
    if k < 2:
        raise RequestError(f"{k} folds can't be held out in turn")
    return {subject: int(share(f"fold/{subject}", seed) * k) for subject in subjects}
