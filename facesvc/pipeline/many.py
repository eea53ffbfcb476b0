"""Many photographs at once: a bounded, ordered parallel map, and the templates of a whole list of files."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice
from facesvc.errors import FaceServiceError

A = TypeVar("A")
B = TypeVar("B")


def ordered_map(function: Callable[[A], B], items: Iterable[A], workers: int, ahead: int = 4) -> Iterator[B]:
    """Results in the order of ``items``, computed by threads, at most ``ahead`` per worker beyond the one given out.

    Threads, since decoding and the networks release the interpreter lock. Unlike Executor.map before
    Python 3.14 it neither reads all items nor holds all results.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers * ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def extract_files(
    extractor: Extractor, files: Iterable[Path], choice: FaceChoice, workers: int
) -> Iterator[tuple[Path, Capture | FaceServiceError]]:
    """Each file with its capture, or with the error that refused it; in the order given."""

    def extract(file: Path) -> tuple[Path, Capture | FaceServiceError]:
        try:
            return file, extractor.extract(file.read_bytes(), choice)
        except FaceServiceError as error:
            return file, error

    return ordered_map(extract, files, workers)
