"""The galleries' indexes as projections of the store: built at first use, caught up before every search.

The revision to catch up to comes from the gallery as the caller just read it, so a search sees every write that
was committed before, by this process or another (read your writes), and no two processes need to talk.
"""

from dataclasses import dataclass
from threading import Lock

from facesvc.core.ports import ReferenceStore
from facesvc.core.types import Gallery, LoadedIndex, Vectors
from facesvc.errors import GalleryNotFound
from facesvc.index.keeping import Keeper, Kept, Version

PAGE = 500
"""Galleries read at a time."""
STEP = 100_000
"""References taken from the store at a time: 51 MB, however large the gallery that is built."""
NOBODY = -1
"""Fills up a shortlist that is shorter than another's."""


@dataclass(frozen=True, slots=True)
class _Projected:
    name: str
    kept: Kept


class Projection:
    """core.ports.GalleryIndexes over one store. Thread-safe; building one gallery's index holds no other up."""

    def __init__(self, store: ReferenceStore, keeper: Keeper, step: int = STEP) -> None:
        self._store = store
        self._keeper = keeper
        self._step = step
        self._projected: dict[Version, _Projected] = {}
        self._lock = Lock()

    def search(self, gallery: Gallery, probes: Vectors, k: int) -> list[list[int]]:
        """Raises GalleryNotFound and StoreUnavailable while catching up."""
        _, keys = self._caught_up(gallery).index.search(probes, k)
        return [[key for key in shortlist if key != NOBODY] for shortlist in keys.tolist()]

    def drop(self, gallery: Gallery) -> None:
        self._forget([version for version in self._versions() if version[0] == gallery.key])
        self._keeper.drop(gallery)

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
        loaded = (
            LoadedIndex(p.name, len(p.kept.index), p.kept.revision, p.kept.index.kind, p.kept.index.nbytes)
            for p in projected
        )
        return sorted(loaded, key=lambda index: index.gallery)

    def _caught_up(self, gallery: Gallery) -> Kept:
        kept = self._entry(gallery)
        if kept.revision < gallery.revision:
            with kept.writing():
                self._catch_up(gallery, kept)
        return kept

    def _catch_up(self, gallery: Gallery, kept: Kept) -> None:
        """Applying changes twice leaves the same index, so a failure half way is made good by the next search."""
        while kept.revision < gallery.revision:  # another thread may have been first
            try:
                changes = self._store.changes(gallery, kept.revision, self._step)
            except GalleryNotFound:
                self.drop(gallery)
                raise
            kept.index.remove(changes.removed)
            kept.index.add(changes.added, changes.vectors)
            kept.reached(changes.revision)

    def _entry(self, gallery: Gallery) -> Kept:
        version = (gallery.key, gallery.template_version)
        with self._lock:
            projected = self._projected.get(version)
        if projected is not None:
            return projected.kept
        self._forget_deleted()
        opened = _Projected(gallery.name, self._keeper.open(gallery))
        with self._lock:
            return self._projected.setdefault(version, opened).kept

    def _forget_deleted(self) -> None:
        """Another process may have deleted galleries whose templates are still in this one's memory; looked for
        when a gallery is loaded, which costs far more."""
        loaded = self._versions()
        if loaded:
            existing = {gallery.key for gallery in self._galleries()}
            self._forget([version for version in loaded if version[0] not in existing])

    def _versions(self) -> list[Version]:
        with self._lock:
            return list(self._projected)

    def _forget(self, versions: list[Version]) -> None:
        with self._lock:
            for version in versions:
                self._projected.pop(version, None)

    def _galleries(self) -> list[Gallery]:
        found: list[Gallery] = []
        cursor: str | None = None
        while True:
            page = self._store.galleries(PAGE, cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found
