"""A thread that keeps the indexes of one process, and their snapshots, in step with the database."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

from facesvc.errors import FaceServiceError

logger = logging.getLogger(__name__)


class Follows(Protocol):
    """Indexes of galleries, such as ``projection.Projection``."""

    def follow(self, ended: Callable[[], bool]) -> None: ...

    def settle(self) -> None: ...


@contextmanager
def following(indexes: Follows, seconds: float) -> Iterator[None]:
    """Follows the database until the context ends, looking so many seconds after it last looked.

    No answer waits for this: a search catches up by itself. What follows from it is that an index is there before it
    is first asked for, that what another process deletes leaves this one's memory and disk without being asked, and
    that a new process has a snapshot to start from.
    """
    ended = Event()
    thread = Thread(target=_follow, args=(indexes, seconds, ended), name="follower", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def settling(indexes: Follows) -> Iterator[None]:
    """For a process that does one thing and ends: what was deleted until then leaves the disk, too. Where that fails,
    whoever follows the database next does it."""
    try:
        yield
    finally:
        try:
            indexes.settle()
        except (FaceServiceError, OSError) as error:
            logger.warning("snapshots of indexes may still hold what was deleted: %s", error)


def _follow(indexes: Follows, seconds: float, ended: Event) -> None:
    failing = False
    while not ended.is_set():
        try:
            indexes.follow(ended.is_set)
            failing = False
        except (FaceServiceError, OSError) as error:  # such as a database that restarts, or a full disk
            if not failing:  # once for each time that it begins
                logger.warning("indexes can't follow the database, will try again: %s", error)
            failing = True
        ended.wait(seconds)
