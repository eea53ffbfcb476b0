"""SIGTERM and SIGINT as a request to stop after the step at hand."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Interruption:
    """signal: the one that asked to stop, None while none has."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.signal = number


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Catches the signals while it lasts, in the main thread; elsewhere they can't be caught and mean what they did."""
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, asked._ask) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
