"""The galleries' indexes as projections of the store: built at first use, caught up before every search.

The revision to catch up to comes from the gallery as the caller just read it, so a search sees every write that
was committed before, by this process or another (read your writes), and no two processes need to talk.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from facesvc.core.ports import ReferenceStore, TemplateIndex
from facesvc.core.types import Gallery, LoadedIndex, Vectors
from facesvc.errors import GalleryNotFound

PAGE = 500
"""Galleries read at a time."""
STEP = 100_000
"""References taken from the store at a time: 51 MB, however large the gallery that is built."""
NOBODY = -1
"""Fills up a shortlist that is shorter than another's."""


@dataclass(slots=True)
class _Projected:
    name: str
    index: TemplateIndex
    revision: int = 0
    lock: Lock = field(default_factory=Lock)


class Projection:
    """core.ports.GalleryIndexes over one store. Thread-safe; building one gallery's index holds no other up."""

    def __init__(self, store: ReferenceStore, open_index: Callable[[], TemplateIndex], step: int = STEP) -> None:
        self._store = store
        self._open_index = open_index
        self._step = step
        self._projected: dict[int, _Projected] = {}
        self._lock = Lock()

    def search(self, gallery: Gallery, probes: Vectors, k: int) -> list[list[int]]:
        """Raises GalleryNotFound and StoreUnavailable while catching up."""
        _, keys = self._caught_up(gallery).index.search(probes, k)
        return [[key for key in shortlist if key != NOBODY] for shortlist in keys.tolist()]

    def drop(self, gallery: Gallery) -> None:
        with self._lock:
            self._projected.pop(gallery.key, None)

    def warm(self) -> None:
        """Builds or catches up every gallery's index, so that no search has to wait for it."""
        for gallery in self._galleries():
            try:
                self._caught_up(gallery)
            except GalleryNotFound:  # deleted since it was listed
                continue

    def loaded(self) -> list[LoadedIndex]:
        """The indexes in memory, by gallery name."""
        with self._lock:
            projected = list(self._projected.values())
        loaded = (LoadedIndex(p.name, len(p.index), p.revision, p.index.kind, p.index.nbytes) for p in projected)
        return sorted(loaded, key=lambda index: index.gallery)

    def _caught_up(self, gallery: Gallery) -> _Projected:
        projected = self._entry(gallery)
        if projected.revision < gallery.revision:
            with projected.lock:
                if projected.revision < gallery.revision:  # another thread may have been first
                    self._catch_up(gallery, projected)
        return projected

    def _catch_up(self, gallery: Gallery, projected: _Projected) -> None:
        """Applying changes twice leaves the same index, so a failure half way is made good by the next search."""
        while projected.revision < gallery.revision:
            try:
                changes = self._store.changes(gallery, projected.revision, self._step)
            except GalleryNotFound:
                self.drop(gallery)
                raise
            projected.index.remove(changes.removed)
            projected.index.add(changes.added, changes.vectors)
            projected.revision = changes.revision

    def _entry(self, gallery: Gallery) -> _Projected:
        with self._lock:
            projected = self._projected.get(gallery.key)
        if projected is not None:
            return projected
        self._drop_deleted()
        with self._lock:
            return self._projected.setdefault(gallery.key, _Projected(gallery.name, self._open_index()))

    def _drop_deleted(self) -> None:
        """Another process may have deleted galleries whose templates are still in this one's memory; looked for
        when a gallery is loaded, which costs far more."""
        if not self._projected:
            return
        existing = {gallery.key for gallery in self._galleries()}
        with self._lock:
            self._projected = {key: projected for key, projected in self._projected.items() if key in existing}

    def _galleries(self) -> list[Gallery]:
        found: list[Gallery] = []
        cursor: str | None = None
        while True:
            page = self._store.galleries(PAGE, cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found
