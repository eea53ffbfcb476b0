"""A parallel map that keeps order and memory bounded."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

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
