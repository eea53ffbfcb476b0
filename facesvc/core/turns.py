"""Turns that come in the order of arrival.

``threading.Semaphore`` lets a newcomer take the place that somebody who waits was just woken for, who then goes to the
end of the line: under load some wait many times as long as others.
"""

from collections import deque
from threading import Event, Lock


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
