"""Files that are whole or not there at all, and that survive a power failure."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from facesvc.errors import RequestError


def sync(path: Path) -> None:
    """Makes a file's bytes survive, or the names that were created in or moved into a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(output: Path) -> Iterator[BinaryIO]:
    """A draft beside ``output``, its owner's alone to read, that takes its place when all is written and synced.

    Raises RequestError where none can be made.
    """
    try:
        draft = tempfile.NamedTemporaryFile(  # noqa: SIM115  closed below, before it is gone
            dir=output.parent, prefix=f"{output.name}.", suffix=".part", delete=False
        )
    except OSError as error:
        raise RequestError(f"{output}: {error.strerror}") from error
    try:
        with draft as stream:
            yield stream  # type: ignore[misc]  # a wrapper of a BinaryIO
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft.name).replace(output)
    except BaseException:
        Path(draft.name).unlink(missing_ok=True)
        raise
    sync(output.parent)
