"""The addresses of a name, by a certain moment: the system's resolver knows no deadline of ours, and a name server that
is slow on purpose would hold a request for as long as it likes."""

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread

from facesvc.errors import Overloaded

AT_ONCE = 32
"""Names that are looked up; further requests are answered `overloaded`. Those that were given up keep their place until
the system's resolver gives up too."""

Resolve = Callable[[str, int], Sequence[str]]


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters
        raise OSError(f"no name: {error}") from error
    return [str(address[0]) for *_, address in found]


class Lookups:
    """Thread-safe. resolve: how names are looked up, each in a thread of its own that nobody has to wait for."""

    def __init__(self, resolve: Resolve, at_once: int = AT_ONCE) -> None:
        self._resolve, self._places = resolve, BoundedSemaphore(at_once)

    def addresses(self, host: str, port: int, deadline: float) -> Sequence[str]:
        """By ``deadline``, as time.monotonic counts. Raises OSError, of which TimeoutError is one, and Overloaded."""
        if not self._places.acquire(blocking=False):
            raise Overloaded("too many names are being looked up; try again in a moment")
        found: Future[Sequence[str]] = Future()
        thread = Thread(target=self._look, args=(found, host, port), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more
            self._places.release()
            raise Overloaded("no thread is left to look up a name; try again in a moment") from None
        return found.result(max(deadline - time.monotonic(), 0))

    def _look(self, found: Future[Sequence[str]], host: str, port: int) -> None:
        try:
            found.set_result(self._resolve(host, port))
        except BaseException as error:  # it is for whoever waits
            found.set_exception(error)
        finally:
            self._places.release()
