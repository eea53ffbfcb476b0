"""Turns: in the order of arrival, and none is lost."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from facesvc.threads import Turns


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.001)


class Line:
    """Callers who wait for ``turns`` one after another, each noted when it has its turn."""

    def __init__(self, turns: Turns, pool: ThreadPoolExecutor) -> None:
        self.turns, self.pool = turns, pool
        self.served: list[int] = []

    def add(self, name: int) -> Future[None]:
        before = len(self.turns._waiting)
        waiting = self.pool.submit(self._wait, name)
        until(lambda: len(self.turns._waiting) > before)
        return waiting

    def _wait(self, name: int) -> None:
        assert self.turns.take(60)
        self.served.append(name)
        self.turns.give_back()


def test_turns_come_in_the_order_of_arrival() -> None:
    turns = Turns()
    with ThreadPoolExecutor(20) as pool:
        line = Line(turns, pool)
        assert turns.take()
        waiting = [line.add(name) for name in range(20)]
        turns.give_back()
        for caller in waiting:
            caller.result(60)
    assert line.served == list(range(20))


def test_a_newcomer_does_not_pass_who_was_woken() -> None:
    turns = Turns()
    with ThreadPoolExecutor(1) as pool:
        line = Line(turns, pool)
        assert turns.take()
        waiting = line.add(1)
        turns.give_back()
        assert turns.take(60)  # whether or not the other has run since
        assert line.served == [1]
        turns.give_back()
        waiting.result(60)


def test_so_many_have_a_turn_at_once() -> None:
    turns = Turns(places=2)
    assert (turns.take(), turns.take(), turns.take(0.01)) == (True, True, False)
    turns.give_back()
    assert turns.take(0)


def test_who_gave_up_is_passed_over() -> None:
    turns = Turns()
    assert turns.take()
    assert not turns.take(0.01)
    with ThreadPoolExecutor(1) as pool:
        waiting = Line(turns, pool).add(1)
        turns.give_back()
        waiting.result(60)
    assert turns.take(0)


def test_a_turn_that_comes_at_the_last_moment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    assert turns.take()

    def in_vain(event: threading.Event, timeout: float | None = None) -> bool:
        turns.give_back()  # between the end of the wait and what is done then
        return False

    monkeypatch.setattr(threading.Event, "wait", in_vain)
    assert turns.take(0)


def test_who_is_interrupted_leaves_the_turn_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    assert turns.take()

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        turns.give_back()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            turns.take()
    assert turns.take(0)
