"""Where a gallery's index is kept, and how far it has come: in this process's memory, or with others'."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import TemplateIndex
from facesvc.core.types import Gallery
from facesvc.errors import IndexUnavailable

Alone = Callable[[str, float], AbstractContextManager[None]]
"""core.ports.ReferenceStore.alone, with patience."""
Version = tuple[int, str, int]
"""What has an index: a gallery's key, one of its template versions, and the issue of its templates."""


def version_of(gallery: Gallery) -> Version:
    return gallery.key, gallery.template_version, gallery.issue


def name_of(version: Version) -> str:
    """A short name for it, of letters, digits and an underscore, that tells no more than the gallery's number."""
    key, template_version, issue = version
    told = f"{template_version} issue {issue}" if issue else template_version
    return f"{key}_{hashlib.sha256(told.encode()).hexdigest()[:16]}"


class IndexLost(IndexUnavailable):
    """What an engine kept of an index is gone, deleted by somebody; it is there again once it is opened anew."""


class Kept(Protocol):
    """The index of one gallery's templates of one version. Thread-safe."""

    @property
    def index(self) -> TemplateIndex: ...

    @property
    def revision(self) -> int:
        """Up to which of the gallery's revisions the index is known, here, to hold its templates."""
        ...

    def writing(self) -> AbstractContextManager[object]:
        """Alone among all that write to the index, in whatever process; within, ``revision`` is where it stands."""
        ...

    def reached(self, revision: int) -> None:
        """Notes, while writing, that all changes up to ``revision`` are in the index."""
        ...


class Keeper(Protocol):
    """Opens the indexes of galleries: what was kept of them, or empty ones at revision 0."""

    def open(self, gallery: Gallery) -> Kept:
        """The index of the gallery's templates of ``gallery.template_version``. Raises StoreUnavailable where it is
        kept elsewhere and that can't be reached."""
        ...

    def tend(self, gallery: Gallery, kept: Kept | None) -> None:
        """Brings what is kept on disk up to date with the gallery, and with its index where that is open here. Raises
        StoreUnavailable, OSError."""
        ...

    def elsewhere(self, gallery: Gallery) -> bool:
        """Whether its index is kept outside of this process: then it costs nothing to open."""
        ...

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        """Keys (n,) of the references whose vectors lie in files of ours, apart from the index itself."""
        ...

    def drop(self, gallery: Gallery) -> None:
        """Deletes whatever is kept of a deleted gallery, in all its versions."""
        ...

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        """Deletes whatever is kept of anything but ``living``, as a kill at the wrong moment may leave it; what it was,
        in words. ``living`` is to be called after everything that is kept was listed: what another process began to
        keep in between is of a gallery that is among them."""
        ...


class InMemory:
    """An index of this process alone."""

    def __init__(self, index: TemplateIndex, revision: int = 0) -> None:
        self.index, self.revision = index, revision
        self._lock = Lock()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._lock:
            yield

    def reached(self, revision: int) -> None:
        self.revision = revision


class MemoryKeeper:
    """Keeps nothing beyond this process: every index is built from the store."""

    def __init__(self, open_index: Callable[[], TemplateIndex]) -> None:
        self._open_index = open_index

    def open(self, gallery: Gallery) -> InMemory:
        return InMemory(self._open_index())

    def tend(self, gallery: Gallery, kept: Kept | None) -> None:
        """There is nothing on disk."""

    def elsewhere(self, gallery: Gallery) -> bool:
        return False

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        """None."""
        return np.empty(0, np.int64)

    def drop(self, gallery: Gallery) -> None:
        """There is nothing left of it."""

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        """There is nothing."""
        return []
