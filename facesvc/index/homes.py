"""Where each gallery's index lives, and how far it has come: in this process's memory, or in an engine outside."""

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
"""storage.store.Store.locks.alone, with patience."""
Version = tuple[int, str, int]
"""What has an index: a gallery's key, one of its template versions, and the issue of its templates."""


def version_of(gallery: Gallery) -> Version:
    return gallery.key, gallery.template_version, gallery.issue


def name_of(version: Version) -> str:
    """A short name for it, of letters, digits and an underscore, that tells no more than the gallery's number."""
    key, template_version, issue = version
    described = f"{template_version} issue {issue}"
    return f"{key}_{hashlib.sha256(described.encode()).hexdigest()[:16]}"


class IndexLost(IndexUnavailable):
    """What an engine kept of an index is gone, deleted by somebody; it is there again once it is opened anew."""


class PlacedIndex(Protocol):
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


class IndexHome(Protocol):
    """A place where indexes of galleries live. It opens what is there of them, or empty ones at revision 0."""

    def open(self, gallery: Gallery) -> PlacedIndex:
        """The index of the gallery's templates of ``gallery.template_version``. Raises StoreUnavailable where it is
        kept elsewhere and that can't be reached."""
        ...

    def update_files(self, gallery: Gallery, kept: PlacedIndex | None) -> None:
        """Bring the files of ours up to date with the gallery, and with its index where that is open here. Raises
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


class MemoryHome:
    """This process's memory alone: every index is built from the store."""

    def __init__(self, open_index: Callable[[], TemplateIndex]) -> None:
        self._open_index = open_index

    def open(self, gallery: Gallery) -> InMemory:
        return InMemory(self._open_index())

    def update_files(self, gallery: Gallery, kept: PlacedIndex | None) -> None:
        """Do nothing: there are no files."""

    def elsewhere(self, gallery: Gallery) -> bool:
        return False

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        """None."""
        return np.empty(0, np.int64)

    def drop(self, gallery: Gallery) -> None:
        """Do nothing: a deleted gallery leaves nothing here."""

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        """Return nothing: nothing stays beyond this process."""
        return []


class ChosenHomes:
    """index.homes.IndexHome that asks ``chosen`` by the gallery's name, and ``default`` for all other galleries.

    elsewhere: further homes, which may have had a gallery before it was given to another. Whatever they have of it is
    dropped when it is opened: it would not be kept up, and deleted people's templates would stay there. Homes of one
    type are one place, and are spared.
    """

    def __init__(
        self, default: IndexHome, chosen: Mapping[str, IndexHome], elsewhere: Iterable[IndexHome] = ()
    ) -> None:
        self._default, self._chosen = default, chosen
        self._homes = list(dict.fromkeys((default, *chosen.values(), *elsewhere)))

    def open(self, gallery: Gallery) -> PlacedIndex:
        """Raises IndexUnavailable where the gallery's own home can't be reached."""
        own = self._home(gallery)
        for home in self._homes:
            if type(home) is not type(own):
                with suppress(IndexUnavailable):  # it has another chance whenever a process opens the gallery
                    home.drop(gallery)
        return own.open(gallery)

    def update_files(self, gallery: Gallery, kept: PlacedIndex | None) -> None:
        self._home(gallery).update_files(gallery, kept)

    def elsewhere(self, gallery: Gallery) -> bool:
        return self._home(gallery).elsewhere(gallery)

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        return self._home(gallery).on_disk(gallery)

    def drop(self, gallery: Gallery) -> None:
        """Asks all, also those after one that fails. Raises what the first of them raised."""
        failures: list[IndexUnavailable] = []
        for home in self._homes:
            try:
                home.drop(gallery)
            except IndexUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        """Raises IndexUnavailable."""
        return [residue for home in self._homes for residue in home.sweep(living)]

    def _home(self, gallery: Gallery) -> IndexHome:
        return self._chosen.get(gallery.name, self._default)
