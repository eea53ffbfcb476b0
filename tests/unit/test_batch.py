"""The micro-batch queue: who waits together is embedded together, and everyone gets what is theirs."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore

import numpy as np
import pytest
from numpy.typing import NDArray

from facesvc.core.types import AlignedFace, Pixels, Vectors
from facesvc.errors import Overloaded, PackDamaged
from facesvc.pipeline.embed import BatchingEmbedder

POISON = 255


class SlowEmbedder:
    """An embedder whose calls wait to be let through: a template is its chip's first value, 128 times."""

    template_version = "sha256:test"

    def __init__(self) -> None:
        self.entered, self.through = Semaphore(0), Event()
        self.calls: list[list[int]] = []

    def align(self, pixels: Pixels, landmarks: NDArray[np.float32]) -> AlignedFace:
        return (pixels[:2, :2], pixels[:1, :1])

    def embed(self, faces: Sequence[AlignedFace]) -> Vectors:
        chips = np.stack([chip for chip, _ in faces])
        self.calls.append([int(chip.flat[0]) for chip in chips])
        self.entered.release()
        assert self.through.wait(60)
        if (chips == POISON).any():
            raise PackDamaged("poisoned")
        return np.repeat(chips.reshape(len(chips), -1)[:, :1], 128, axis=1).astype(np.float32)


def faces(*values: int, side: int = 2) -> list[AlignedFace]:
    """A face for each value, of two chips that hold nothing else."""
    return [(np.full((side, side, 3), value, np.uint8), np.full((1, 1, 3), value, np.uint8)) for value in values]


@pytest.fixture
def slow() -> SlowEmbedder:
    return SlowEmbedder()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def queued(batching: BatchingEmbedder, count: int) -> None:
    """Returns when ``count`` callers wait."""
    with batching.changed:
        assert batching.changed.wait_for(lambda: len(batching.waiting) == count, 60)


def ask(batching: BatchingEmbedder, pool: ThreadPoolExecutor, *groups: list[AlignedFace]) -> list:
    """Asks for each group in turn, each in line before the next one asks."""
    futures = []
    for i, group in enumerate(groups):
        futures.append(pool.submit(batching.embed, group))
        queued(batching, i + 1)
    return futures


def occupied(slow: SlowEmbedder, batching: BatchingEmbedder, pool: ThreadPoolExecutor):
    """A first caller whose call is under way, so that the next ones have to wait."""
    first = pool.submit(batching.embed, faces(1))
    assert slow.entered.acquire(timeout=60)
    return first


def test_callers_who_wait_together_are_embedded_in_one_call(slow: SlowEmbedder, pool: ThreadPoolExecutor) -> None:
    batching = BatchingEmbedder(slow, max_batch=4)
    first = occupied(slow, batching, pool)
    others = ask(batching, pool, faces(2), faces(3, 4), faces(5), faces(6))
    slow.through.set()
    assert first.result(60)[:, 0].tolist() == [1]
    assert [future.result(60)[:, 0].tolist() for future in others] == [[2], [3, 4], [5], [6]]
    assert slow.calls == [[1], [2, 3, 4, 5], [6]]
    batching.close()


def test_a_lone_caller_does_not_wait_for_company(slow: SlowEmbedder) -> None:
    slow.through.set()
    batching = BatchingEmbedder(slow, max_batch=8)
    assert batching.embed(faces(7))[0].tolist() == [7.0] * 128
    assert slow.calls == [[7]]
    batching.close()


def test_many_faces_of_one_caller_go_through_in_slices(slow: SlowEmbedder) -> None:
    slow.through.set()
    batching = BatchingEmbedder(slow, max_batch=2)
    assert batching.embed(faces(1, 2, 3, 4, 5))[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert slow.calls == [[1, 2], [3, 4], [5]]
    batching.close()


def test_chips_of_another_size_do_not_spoil_the_others_answers(slow: SlowEmbedder, pool: ThreadPoolExecutor) -> None:
    batching = BatchingEmbedder(slow)
    first = occupied(slow, batching, pool)
    others = ask(batching, pool, faces(2), faces(3, side=3))
    slow.through.set()
    assert [future.result(60)[0, 0] for future in [first, *others]] == [1, 2, 3]
    assert slow.calls == [[1], [2], [3]]
    batching.close()


def test_an_error_reaches_the_caller_it_belongs_to_and_nobody_else(
    slow: SlowEmbedder, pool: ThreadPoolExecutor
) -> None:
    batching = BatchingEmbedder(slow)
    first = occupied(slow, batching, pool)
    good, bad, also_good = ask(batching, pool, faces(2), faces(POISON), faces(3))
    slow.through.set()
    assert [future.result(60)[0, 0] for future in (first, good, also_good)] == [1, 2, 3]
    with pytest.raises(PackDamaged, match="poisoned"):
        bad.result(60)
    batching.close()


def test_a_full_queue_refuses(slow: SlowEmbedder, pool: ThreadPoolExecutor) -> None:
    batching = BatchingEmbedder(slow, capacity=2)
    first = occupied(slow, batching, pool)
    waiting = ask(batching, pool, faces(2), faces(3))
    with pytest.raises(Overloaded, match="2 callers wait"):
        batching.embed(faces(4))
    slow.through.set()
    assert [future.result(60)[0, 0] for future in [first, *waiting]] == [1, 2, 3]
    batching.close()


def test_closing_answers_who_waits_and_refuses_who_comes(slow: SlowEmbedder, pool: ThreadPoolExecutor) -> None:
    batching = BatchingEmbedder(slow, workers=2)
    first = occupied(slow, batching, pool)
    second = occupied(slow, batching, pool)
    (waiting,) = ask(batching, pool, faces(3))
    closing = pool.submit(batching.close)
    slow.through.set()
    closing.result(60)
    assert [future.result(60)[0, 0] for future in (first, second, waiting)] == [1, 1, 3]
    assert not any(thread.is_alive() for thread in batching.threads)
    with pytest.raises(Overloaded, match="shutting down"):
        batching.embed(faces(4))


def test_alignment_and_version_are_the_inner_embedders(slow: SlowEmbedder) -> None:
    batching = BatchingEmbedder(slow)
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    first, second = batching.align(pixels, np.zeros((5, 2), np.float32))
    assert (first.tolist(), second.tolist()) == (pixels[:2, :2].tolist(), pixels[:1, :1].tolist())
    assert batching.template_version == "sha256:test"
    batching.close()
