"""Fair turns, a lock for readers and writers, and a parallel map that keeps order.

Turns that come in the order of arrival.

``threading.Semaphore`` lets a newcomer take the place that somebody who waits was just woken for, who then goes to the
end of the line: under load some wait many times as long as others.

A lock that readers share and a writer has alone.

A parallel map that keeps order and memory bounded.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Condition, Event, Lock
from typing import TypeVar


class Turns:
    """So many at once (``places``), the others one after another as they came. Thread-safe, not re-entrant."""

    def __init__(self, places: int = 1) -> None:
        self._free = places
        self._lock, self._waiting = Lock(), deque[Event]()

    def take(self, patience: float | None = None) -> bool:
        """Waits for a turn, to be given back; False where none came within ``patience`` seconds, None for as long as
        it takes."""
        mine = Event()
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._waiting.append(mine)
        try:
            return mine.wait(patience) or self._came_after_all(mine)
        except BaseException:  # such as KeyboardInterrupt: a turn passed to nobody would stop all others
            if self._came_after_all(mine):
                self.give_back()
            raise

    def give_back(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1

    def _came_after_all(self, mine: Event) -> bool:
        """Whether it was passed on between the end of the wait and now; else it will not be."""
        with self._lock:
            if not mine.is_set():
                self._waiting.remove(mine)
            return mine.is_set()


class SharedLock:
    """Any number inside ``shared()``, or one inside ``alone()``. A waiting writer keeps new readers out, so a
    steady stream of searches can't starve it. Not reentrant."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._writing and not self._readers)
                self._writing = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Items in work or waiting for their turn, per worker: enough that one slow photograph stops nobody."""


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result], None, None]:
    """(item, function(item)) in the order of ``items``, which are drawn as they are needed.

    Threads, since decoding and the networks release the interpreter lock; unlike Executor.map before Python 3.14
    it neither reads all items nor holds all results. The first exception is raised at its item's turn. Closing the
    generator drops what has not begun.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="photograph")
    pending: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in islice(source, workers * AHEAD):
            pending.append((item, pool.submit(function, item)))
        while pending:
            item, future = pending.popleft()
            result = future.result()
            for following in islice(source, 1):
                pending.append((following, pool.submit(function, following)))
            yield item, result
    finally:
        pool.shutdown(cancel_futures=True)
