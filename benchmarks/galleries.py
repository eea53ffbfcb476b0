"""Galleries of any size, spread as the templates of real faces are."""

from collections.abc import Iterator

import numpy as np

from facesvc.core.types import DIMENSION, Vectors

FALL = 0.985
"""Of the standard deviation, from one direction to the next: 63 directions by participation ratio, as in the templates
that pack fusion gave of 4,346 photographs of 202 people."""
CENTRE, PERSON, PHOTOGRAPH = 0.3, 0.95, (0.4, 0.9)
"""Lengths of what all templates share, what a person's share, and what each has of its own (uniform). They put squared
distances at 0.58 (0.47 to 0.72, the middle half) within a person and 1.87 +- 0.24 between two; measured on those
photographs: 0.60 (0.46 to 0.76) and 1.85 +- 0.22."""
CHUNK = 50_000


class Population:
    """People, and photographs of them, by number; the same in every run."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0]
        spread = FALL ** np.arange(DIMENSION)
        self._spread = (spread[:, None] * turn / np.sqrt(np.square(spread).sum())).astype(np.float32)
        centre = rng.normal(size=DIMENSION)
        self._centre = (CENTRE * centre / np.linalg.norm(centre)).astype(np.float32)

    def templates(self, count: int, start: int = 0, photograph: int = 0) -> Iterator[Vectors]:
        """One photograph each of people start.. (a multiple of CHUNK), as (n 128) unit vectors in pieces of CHUNK."""
        for first in range(start, start + count, CHUNK):
            size = min(CHUNK, start + count - first)
            people = self._normal(1, first)[:size]
            own = self._normal(2 + photograph, first)[:size]
            share = np.random.default_rng([self.seed, 0, photograph, first]).uniform(*PHOTOGRAPH, (CHUNK, 1))[:size]
            vectors = self._centre + (PERSON * people + share.astype(np.float32) * own) @ self._spread
            yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _normal(self, stream: int, first: int) -> Vectors:
        rng = np.random.default_rng([self.seed, stream, first])
        return rng.standard_normal((CHUNK, DIMENSION), np.float32)
