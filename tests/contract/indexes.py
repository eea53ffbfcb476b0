"""What the tests of indexes share: the kinds, the oracle's values, and galleries that are spread as faces are."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facesvc.core.compare import squared_l2
from facesvc.core.ports import TemplateIndex
from facesvc.core.types import Vectors
from facesvc.index.compressed import CompressedIndex
from facesvc.index.exact import ExactIndex
from facesvc.index.flat import FlatIndex
from facesvc.index.growing import GrowingIndex
from facesvc.index.large import LargeIndex
from tests.support.databases import unit_vectors

Opener = Callable[..., TemplateIndex]
KINDS: dict[str, Opener] = {
    "exact": ExactIndex,
    "flat": FlatIndex,
    "compressed": CompressedIndex,
    "large": LargeIndex,
    "growing": partial(GrowingIndex, flat_until=4),
}
STORED_EXACTLY = ("exact", "flat", "milvus", "pgvector")
TOLERANCE = 1e-5
"""Of a float32 squared distance, 0..4, against float64."""


def assert_nearest(index: TemplateIndex, held: dict[int, Vectors], probes: Vectors, k: int) -> None:
    """The shortlists hold the oracle's k nearest, as the vectors themselves say: distances are compared, since which
    of equally distant keys come, and in what order, is open. An index that stores vectors exactly gives no more than
    these, and their distances."""
    distances, keys = index.search(probes, k)
    exact = squared_l2(probes, np.array(list(held.values()), np.float32).reshape(len(held), probes.shape[1]))
    column = {key: i for i, key in enumerate(held)}
    wanted = np.sort(exact, axis=1)[:, : max(k, 0)]
    assert (distances.dtype, keys.dtype, distances.shape) == (np.float32, np.int64, keys.shape)
    for i, row in enumerate(keys):
        found = row[row >= 0].tolist()
        assert (row[len(found) :] == -1).all()
        assert np.isinf(distances[i, len(found) :]).all()
        assert (np.diff(distances[i, : len(found)]) >= 0).all()
        assert len(set(found)) == len(found)
        rescored = exact[i, [column[key] for key in found]]
        np.testing.assert_allclose(np.sort(rescored)[: wanted.shape[1]], wanted[i], rtol=0, atol=TOLERANCE)
        if index.kind in STORED_EXACTLY:
            np.testing.assert_allclose(distances[i], wanted[i], rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(rescored, distances[i], rtol=0, atol=TOLERANCE)


def nearest_keys(index: TemplateIndex, vectors: Vectors, probes: Vectors, k: int) -> NDArray[np.int64]:
    """(n k) as a service answers: the k nearest of each shortlist by the vectors themselves, key i's being
    vectors[i]."""
    answers = []
    for probe, row in zip(probes, index.search(probes, k)[1], strict=True):
        found = row[row >= 0]
        answers.append(found[np.argsort(squared_l2(probe[None], vectors[found])[0], kind="stable")[:k]])
    return np.array(answers)


def people(count: int, photographs: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Templates (count * photographs 128) of so many people, one after the other, and a probe (count 128) of each;
    spread as those of a face network are.

    Measured on 4,346 photographs of 202 people with pack fusion: a mean of length 0.28, variances that fall off so that
    63 directions would have the same participation ratio, squared distances of 0.60 (0.46 to 0.76, the middle half)
    within a person and 1.85 +- 0.22 between two.
    """
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(98).normal(size=(128, 128)))[0]
    spread = 0.985 ** np.arange(128)
    spread = spread[:, None] * turn / np.sqrt(np.square(spread).sum())
    middle = 0.3 * unit_vectors(1, seed=99)[0]
    persons = middle + 0.95 * rng.normal(size=(count, 1, 128)) @ spread
    noise = rng.uniform(0.4, 0.9, (count, photographs + 1, 1))
    templates = persons + noise * rng.normal(size=(count, photographs + 1, 128)) @ spread
    templates = (templates / np.linalg.norm(templates, axis=2, keepdims=True)).astype(np.float32)
    return np.ascontiguousarray(templates[:, 1:].reshape(-1, 128)), np.ascontiguousarray(templates[:, 0])
