"""One request's photographs belong together: once the first was let in, the others are not turned away."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Visit:
    """A request on its way through the service, whichever threads work on it."""

    def __init__(self) -> None:
        self.admitted = False


_current: ContextVar[Visit | None] = ContextVar("visit", default=None)


@contextmanager
def visiting() -> Iterator[Visit]:
    """What is done within, also in threads that are handed this context, is of one visit."""
    token = _current.set(visit := Visit())
    try:
        yield visit
    finally:
        _current.reset(token)


def current_visit() -> Visit:
    """The visit that this is a part of; one of its own where there is none."""
    return _current.get() or Visit()
