"""Where each gallery's index lives, and how far it has come.

Where a gallery's index is kept, and how far it has come: in this process's memory, or with others'.

Each gallery's index with the keeper that is configured for it.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
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
    told = f"{template_version} issue {issue}"
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


class GalleryKeepers:
    """index.homes.Keeper that asks ``chosen`` by the gallery's name, and ``default`` for all other galleries.

    elsewhere: further keepers, which may have kept a gallery before it was given to another. Whatever they have of it
    is dropped when it is opened: nobody would keep it up, and deleted people's templates would stay there. Keepers of
    one type keep in one place, and are spared.
    """

    def __init__(self, default: Keeper, chosen: Mapping[str, Keeper], elsewhere: Iterable[Keeper] = ()) -> None:
        self._default, self._chosen = default, chosen
        self._keepers = list(dict.fromkeys((default, *chosen.values(), *elsewhere)))

    def open(self, gallery: Gallery) -> Kept:
        """Raises IndexUnavailable where the gallery's own keeper can't be reached."""
        own = self._keeper(gallery)
        for keeper in self._keepers:
            if type(keeper) is not type(own):
                with suppress(IndexUnavailable):  # it has another chance whenever a process opens the gallery
                    keeper.drop(gallery)
        return own.open(gallery)

    def tend(self, gallery: Gallery, kept: Kept | None) -> None:
        self._keeper(gallery).tend(gallery, kept)

    def elsewhere(self, gallery: Gallery) -> bool:
        return self._keeper(gallery).elsewhere(gallery)

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        return self._keeper(gallery).on_disk(gallery)

    def drop(self, gallery: Gallery) -> None:
        """Asks all, also those after one that fails. Raises what the first of them raised."""
        failures: list[IndexUnavailable] = []
        for keeper in self._keepers:
            try:
                keeper.drop(gallery)
            except IndexUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        """Raises IndexUnavailable."""
        return [residue for keeper in self._keepers for residue in keeper.sweep(living)]

    def _keeper(self, gallery: Gallery) -> Keeper:
        return self._chosen.get(gallery.name, self._default)
