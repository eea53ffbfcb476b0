"""What survives a power failure."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Makes a file's bytes survive, or the names that were created in or moved into a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
