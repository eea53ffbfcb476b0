"""The gate: who is let in, who waits, and who is refused at once."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context

import pytest

from facesvc.errors import Overloaded
from facesvc.pipeline.gate import Gate, visiting


@contextmanager
def waiting(gate: Gate, count: int) -> Iterator[None]:
    """``count`` callers that wait at a gate, whose places are all taken, until the context ends."""

    def call() -> None:
        with gate.enter():
            pass

    before = gate.present
    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    while gate.present < before + count:
        threading.Event().wait(0.001)
    yield
    for thread in threads:
        thread.join()


def test_so_many_work_so_many_wait_and_the_rest_is_refused() -> None:
    gate = Gate(workers=2, queue=3, patience=60)
    with ExitStack() as outer, gate.enter(), gate.enter():
        outer.enter_context(waiting(gate, 3))
        with pytest.raises(Overloaded):
            gate.enter().__enter__()
    with gate.enter():
        assert gate.present == 1


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    gate = Gate(workers=2, queue=100, patience=1.0)
    gate.mean_seconds = 0.25  # with three that wait: (3 + 1) / 2 * 0.25 s, over two fifths of what one waits
    with ExitStack() as outer, gate.enter(), gate.enter():
        outer.enter_context(waiting(gate, 3))
        with pytest.raises(Overloaded):
            gate.enter().__enter__()
    assert gate.present == 0


def test_who_has_waited_too_long_is_refused() -> None:
    gate = Gate(workers=1, queue=100, patience=0.01)
    with gate.enter(), pytest.raises(Overloaded):
        gate.enter().__enter__()
    assert gate.present == 0


def test_commands_wait_for_as_long_as_it_takes() -> None:
    gate = Gate(workers=1, queue=100, patience=None)
    gate.mean_seconds = 1e9
    with ExitStack() as outer, gate.enter():
        outer.enter_context(waiting(gate, 3))
    assert gate.present == 0
    assert gate.mean_seconds < 1e9


def test_further_photographs_of_a_visit_are_not_refused() -> None:
    gate = Gate(workers=1, queue=1, patience=60)
    done: list[int] = []

    def further() -> None:
        with gate.enter():
            done.append(gate.present)

    with visiting():
        with gate.enter():
            pass
        context = copy_context()
    late = threading.Thread(target=context.run, args=[further])
    with ExitStack() as outer:
        with gate.enter():
            outer.enter_context(waiting(gate, 1))
            late.start()
            while gate.present < 3:
                threading.Event().wait(0.001)
            with pytest.raises(Overloaded):  # another visit's
                gate.enter().__enter__()
        late.join()
    assert len(done) == 1


def test_the_mean_time_follows_what_is_seen() -> None:
    gate = Gate(workers=1, queue=1, patience=60)
    with gate.enter():
        threading.Event().wait(0.02)
    first = gate.mean_seconds
    assert 0.02 <= first < 1
    with gate.enter():
        pass
    assert 0.9 * first <= gate.mean_seconds < first
