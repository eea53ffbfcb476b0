"""The contract of core.ports.TemplateIndex: every index gives the oracle's values."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import StoreError
from facesvc.index.exact import ExactIndex
from facesvc.index.flat import BLAS_THRESHOLD, FlatIndex
from facesvc.threads import SharedLock
from tests.contract.indexes import KINDS, STORED_EXACTLY, Opener, assert_nearest, nearest_keys
from tests.support.databases import unit_vectors
from tests.support.engines import ENGINE_PARAMETERS, ENGINES, EngineOpeners


@pytest.fixture(params=[*KINDS, *ENGINE_PARAMETERS])
def open_index(request: pytest.FixtureRequest) -> Opener:
    if request.param in ENGINES:
        return request.getfixturevalue("engine_openers").opener(request.param)
    return KINDS[request.param]


@pytest.mark.parametrize("open_index", [ExactIndex, FlatIndex])
def test_distances_and_keys_by_hand(open_index: Opener) -> None:
    index = open_index(dimension=2)
    index.add(np.array([70, 10, 30]), np.array([[1, 0], [0, 1], [-1, 0]], np.float32))
    distances, keys = index.search(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), 3)
    np.testing.assert_allclose(distances, [[0, 2, 4], [0, 2, 2], [0.4, 0.8, 3.2]], rtol=0, atol=1e-6)
    assert keys[0].tolist() == [70, 10, 30]
    assert keys[1, 0] == 10
    assert keys[2].tolist() == [10, 70, 30]


def test_random_vectors_with_duplicates(open_index: Opener) -> None:
    vectors = unit_vectors(600, seed=1)
    vectors[300:400] = vectors[:100]
    keys = np.random.default_rng(2).permutation(10**12 + np.arange(600))
    index = open_index()
    index.add(keys, vectors)
    held = dict(zip(keys.tolist(), vectors, strict=True))
    for k in (1, 2, 10, 600):
        assert_nearest(index, held, np.concatenate([unit_vectors(20, seed=3), vectors[:20]]), k)


def test_a_reference_is_its_own_nearest(open_index: Opener) -> None:
    vectors = unit_vectors(200, seed=4)
    index = open_index()
    index.add(np.arange(200), vectors)
    for i in range(200):
        distances, keys = index.search(vectors[i : i + 1], 1)
        assert keys[0, 0] == i
        if index.kind in STORED_EXACTLY:
            assert distances[0].tolist() == [0.0]


@pytest.mark.parametrize("probes", [15, 16, 100])
def test_batches_around_the_matrix_multiplication_threshold(probes: int) -> None:
    assert BLAS_THRESHOLD == 16 * 128
    vectors = unit_vectors(300, seed=5)
    index = FlatIndex()
    index.add(np.arange(300), vectors)
    batch = np.concatenate([unit_vectors(probes - 10, seed=6), vectors[:10]])
    assert_nearest(index, dict(enumerate(vectors)), batch, 5)


def test_more_neighbours_than_references(open_index: Opener) -> None:
    index = open_index()
    vectors = unit_vectors(3, seed=7)
    index.add(np.arange(3), vectors)
    assert [sorted(row) for row in index.search(vectors[:2], 100)[1].tolist()] == [[0, 1, 2]] * 2
    assert_nearest(index, dict(enumerate(vectors)), vectors[:2], 100)


@pytest.mark.parametrize(("probes", "k", "shape"), [(2, 5, (2, 0)), (0, 5, (0, 0)), (2, 0, (2, 0))])
def test_empty_index(open_index: Opener, probes: int, k: int, shape: tuple[int, int]) -> None:
    index = open_index()
    for _ in range(2):
        distances, keys = index.search(unit_vectors(probes), k)
        assert (distances.shape, keys.shape, len(index)) == (shape, shape, 0)
        index.add(np.arange(3), unit_vectors(3))
        index.remove(np.arange(3))


@pytest.mark.parametrize(("probes", "k", "shape"), [(0, 3, (0, 3)), (2, 0, (2, 0)), (2, -1, (2, 0))])
def test_nothing_asked(open_index: Opener, probes: int, k: int, shape: tuple[int, int]) -> None:
    index = open_index()
    index.add(np.arange(3), unit_vectors(3))
    distances, keys = index.search(unit_vectors(probes), k)
    assert (distances.shape, keys.shape) == (shape, shape)


def test_a_key_added_again_is_replaced(open_index: Opener) -> None:
    index = open_index()
    vectors = unit_vectors(6, seed=8)
    index.add(np.array([1, 2, 3]), vectors[:3])
    index.add(np.array([2, 4, 4]), vectors[3:])
    held = {1: vectors[0], 2: vectors[3], 3: vectors[2], 4: vectors[5]}
    assert len(index) == 4
    assert_nearest(index, held, vectors, 4)


def test_unknown_keys_are_not_removed(open_index: Opener) -> None:
    index = open_index()
    vectors = unit_vectors(3, seed=9)
    index.add(np.array([1, 2, 3]), vectors)
    index.remove(np.array([9, 2, 2, -1]))
    index.remove(np.empty(0, np.int64))
    index.add(np.empty(0, np.int64), np.empty((0, 128), np.float32))
    assert_nearest(index, {1: vectors[0], 3: vectors[2]}, vectors, 3)


def test_arrays_given_are_copied(open_index: Opener) -> None:
    index = open_index()
    keys, vectors = np.array([1, 2, 3]), unit_vectors(3, seed=10)
    held = {1: vectors[0].copy(), 2: vectors[1].copy(), 3: vectors[2].copy()}
    index.add(keys, vectors)
    vectors[:], keys[:] = 0, 0
    assert_nearest(index, held, unit_vectors(2, seed=11), 3)


@pytest.mark.parametrize(
    "bad",
    [
        np.full((1, 128), np.nan, np.float32),
        np.full((1, 128), -np.inf, np.float32),
        np.zeros((1, 64), np.float32),
        np.zeros(128, np.float32),
    ],
    ids=["nan", "inf", "64 dimensions", "one axis"],
)
def test_vectors_that_are_none(open_index: Opener, bad: NDArray[Any]) -> None:
    index = open_index()
    vectors = unit_vectors(2, seed=12)
    index.add(np.array([1, 2]), vectors)
    with pytest.raises(StoreError, match="index wants"):
        index.add(np.array([1]), bad)
    with pytest.raises(StoreError, match="index wants"):
        index.search(bad, 1)
    assert_nearest(index, {1: vectors[0], 2: vectors[1]}, vectors, 2)


def test_keys_and_vectors_of_different_number(open_index: Opener) -> None:
    index = open_index()
    with pytest.raises(StoreError, match=r"index wants a key for each vector: keys \(3,\), vectors \(2 d\)"):
        index.add(np.arange(3), unit_vectors(2))
    assert len(index) == 0


class Mutations(RuleBasedStateMachine):
    """Adds, replaces and removes in any order. Small whole numbers give many ties, and exact ones."""

    openers: Sequence[Opener] = list(KINDS.values())

    @initialize(number=st.integers(0, 99))
    def start(self, number: int) -> None:
        self.index = self.openers[number % len(self.openers)](dimension=3)
        self.held: dict[int, Vectors] = {}

    @rule(entries=st.lists(st.tuples(st.integers(0, 12), st.tuples(*[st.integers(-2, 2)] * 3)), max_size=9))
    def add(self, entries: list[tuple[int, tuple[int, ...]]]) -> None:
        keys = np.array([key for key, _ in entries], np.int64)
        vectors = np.array([vector for _, vector in entries], np.float32).reshape(-1, 3)
        self.index.add(keys, vectors)
        self.held.update(zip(keys.tolist(), vectors, strict=True))

    @rule(keys=st.lists(st.integers(0, 12), max_size=9))
    def remove(self, keys: list[int]) -> None:
        self.index.remove(np.array(keys, np.int64))
        for key in keys:
            self.held.pop(key, None)

    @rule(probe=st.tuples(*[st.integers(-3, 3)] * 3), k=st.integers(1, 14))
    def search(self, probe: tuple[int, ...], k: int) -> None:
        assert_nearest(self.index, self.held, np.array([probe], np.float32), k)

    @invariant()
    def counted(self) -> None:
        assert len(self.index) == len(self.held)


def test_any_order_of_mutations() -> None:
    run_state_machine_as_test(Mutations, settings=settings(max_examples=250, stateful_step_count=25, deadline=None))


@pytest.mark.parametrize("engine", ENGINE_PARAMETERS)
def test_any_order_of_mutations_in_an_engine(engine: str, engine_openers: EngineOpeners) -> None:
    machine = type("InEngine", (Mutations,), {"openers": [engine_openers.opener(engine)]})
    few = settings(max_examples=8, stateful_step_count=20, deadline=None)
    run_state_machine_as_test(machine, settings=few)


def test_searches_beside_mutations(open_index: Opener) -> None:
    """Four threads search for references that stay, while two add and remove others."""
    vectors = unit_vectors(400, seed=13)
    index = open_index()
    index.add(np.arange(200), vectors[:200])

    def search(thread: int) -> list[int]:
        own = range(thread, 200, 4)
        return [int(nearest_keys(index, vectors, vectors[i : i + 1], 1)[0, 0]) for i in own]

    def mutate(thread: int) -> int:
        own = np.arange(200 + thread, 400, 2)
        for _ in range(30):
            index.add(own, vectors[own])
            index.remove(np.random.default_rng(thread).permutation(own))
        return len(own)

    with ThreadPoolExecutor(6) as pool:
        mutations = [pool.submit(mutate, thread) for thread in range(2)]
        searches = [pool.submit(search, thread) for thread in range(4)]
        assert [found.result() for found in searches] == [list(range(thread, 200, 4)) for thread in range(4)]
        assert [done.result() for done in mutations] == [100, 100]
    assert_nearest(index, dict(enumerate(vectors[:200])), vectors[:50], 5)


def test_readers_share_the_lock_and_a_writer_does_not() -> None:
    lock = SharedLock()
    together = Barrier(2)

    def read() -> int:
        with lock.shared():
            return together.wait(20)

    def write() -> bool:
        with lock.alone():
            try:
                together.wait(0.05)
            except BrokenBarrierError:
                return True  # nobody else came in
            return False

    with ThreadPoolExecutor(2) as pool:
        assert sorted(future.result() for future in [pool.submit(read), pool.submit(read)]) == [0, 1]
        assert True in [future.result() for future in [pool.submit(write), pool.submit(write)]]
