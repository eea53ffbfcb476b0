"""The galleries' indexes, which follow the revision log of the store: built at first use, caught up before every
search. A thread keeps the indexes of one process, and their snapshots, in step with the database.

The revision to catch up to comes from the gallery as the caller just read it, so a search sees every write that
was committed before, by this process or another (read your writes), and no two processes need to talk.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Protocol

import numpy as np

from facesvc.core.types import Gallery, LoadedIndex, Vectors, every
from facesvc.errors import FaceServiceError, GalleryNotFound, IndexUnavailable
from facesvc.index.homes import IndexHome, IndexLost, PlacedIndex, Version, version_of
from facesvc.storage.store import Store

logger = logging.getLogger(__name__)


class Follows(Protocol):
    """Indexes that can follow the database: one tenant's (``GalleryIndexes``), or those of all tenants."""

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


STEP = 100_000
"""References taken from the store at a time: 51 MB, however large the gallery that is built."""
NOBODY = -1
"""Fills up a shortlist that is shorter than another's."""


@dataclass(frozen=True, slots=True)
class _OpenIndex:
    """turn: to catch up, of one of this process's threads; those that waited for it find it done."""

    name: str
    index: PlacedIndex
    turn: Lock = field(default_factory=Lock)


class GalleryIndexes:
    """The indexes of one store's galleries, each brought up to its gallery's revision before it answers.

    Thread-safe; building one gallery's index holds no other up.
    """

    def __init__(self, store: Store, home: IndexHome, step: int = STEP) -> None:
        self._store = store
        self._home = home
        self._step = step
        self._open_indexes: dict[Version, _OpenIndex] = {}
        self._opening: dict[Version, Lock] = {}
        self._lock = Lock()

    def search(self, gallery: Gallery, probes: Vectors, k: int) -> list[list[int]]:
        """Return for each of the probes (n d) the keys of references among which its k nearest are, see
        TemplateIndex.search. Raises GalleryNotFound and StoreUnavailable while catching up, IndexUnavailable."""
        probes = self._store.revisions.issued(gallery, probes)
        try:
            _, keys = self.caught_up(gallery).index.search(probes, k)
        except IndexLost:
            self._forget([version_of(gallery)])
            _, keys = self.caught_up(gallery).index.search(probes, k)
        return [[key for key in shortlist if key != NOBODY] for shortlist in keys.tolist()]

    def drop(self, gallery: Gallery) -> None:
        """Delete a deleted gallery's indexes."""
        self._forget([version for version in self._versions() if version[0] == gallery.key])
        self._home.drop(gallery)

    def purge(self, gallery: Gallery, keys: Collection[int]) -> int:
        """Takes what was removed out of the indexes that are open here or kept elsewhere, and out of what is on disk;
        how many of ``keys`` still lie there. Other processes do so as they follow. Raises as ``follow`` does."""
        left = 0
        for held in map(gallery.of, gallery.versions):
            is_open = version_of(held) in self._versions()
            kept = self.caught_up(held) if is_open or self._home.elsewhere(held) else None
            self._home.update_files(held, kept)
            left += int(np.isin(self._home.on_disk(held), list(keys)).sum())
        return left

    def warm(self) -> None:
        """Builds or catches up every gallery's index, so that no search has to wait for it."""
        for gallery in every(self._store.galleries.list):
            try:
                self.caught_up(gallery)
            except GalleryNotFound:  # deleted since it was listed
                continue

    def follow(self, ended: Callable[[], bool]) -> None:
        """Opens and catches up the indexes of all galleries, in all their versions, and brings what is kept of them on
        disk up to date; forgets and deletes those of what is there no longer. Stops early once ``ended`` says so.
        Raises StoreUnavailable, OSError, and at the end IndexUnavailable where that was so of any."""
        unavailable: IndexUnavailable | None = None
        for gallery in self.living().values():
            if ended():
                return
            try:
                self._home.update_files(gallery, self.caught_up(gallery))
            except GalleryNotFound:  # deleted since it was listed
                continue
            except IndexUnavailable as error:  # the others' indexes may be elsewhere
                unavailable = error
        living = self.living()
        self._forget([version for version in self._versions() if version not in living])
        self._home.sweep(self.living)
        if unavailable:
            raise unavailable

    def settle(self) -> None:
        """Takes what was deleted out of what is kept on disk, without opening any index. Raises StoreUnavailable,
        OSError."""
        for gallery in self.living().values():
            with suppress(GalleryNotFound):
                self._home.update_files(gallery, None)

    def loaded(self) -> list[LoadedIndex]:
        """The indexes that are open here, by gallery name; but for those whose engine does not answer."""
        return sorted(self._states(), key=lambda index: index.gallery)

    def _states(self) -> Iterator[LoadedIndex]:
        with self._lock:
            opened = list(self._open_indexes.values())
        for one in opened:
            with suppress(IndexUnavailable):
                index = one.index.index
                yield LoadedIndex(one.name, len(index), one.index.revision, index.kind, index.nbytes)

    def caught_up(self, gallery: Gallery) -> PlacedIndex:
        """The index of the gallery's templates of ``gallery.template_version``, at ``gallery.revision`` or beyond.
        Raises GalleryNotFound, StoreUnavailable, IndexUnavailable."""
        found = self._entry(gallery)
        kept = found.index
        if kept.revision < gallery.revision:
            try:
                with found.turn:
                    if kept.revision < gallery.revision:
                        with kept.writing():
                            self._catch_up(gallery, kept)
            except GalleryNotFound:  # deleted meanwhile; dropped once it is not written to any more
                self.drop(gallery)
                raise
        return kept

    def _catch_up(self, gallery: Gallery, kept: PlacedIndex) -> None:
        """Applying changes twice leaves the same index, so a failure half way is made good by the next search."""
        while kept.revision < gallery.revision:  # another process may have been first
            changes = self._store.revisions.changes(gallery, kept.revision, self._step)
            kept.index.remove(changes.removed)
            kept.index.add(changes.added, changes.vectors)
            kept.reached(changes.revision)

    def _entry(self, gallery: Gallery) -> _OpenIndex:
        version = version_of(gallery)
        with self._lock:
            found, turn = self._open_indexes.get(version), self._opening.setdefault(version, Lock())
        if found is not None:
            return found
        with turn:  # the first request and the follower must not both fill memory with it
            with self._lock:
                found = self._open_indexes.get(version)
            return found or self._open(version, gallery)

    def _open(self, version: Version, gallery: Gallery) -> _OpenIndex:
        self._forget_deleted()
        opened = _OpenIndex(gallery.name, self._opened(gallery))
        with self._lock:
            self._open_indexes[version] = opened
        return opened

    def _opened(self, gallery: Gallery) -> PlacedIndex:
        """An index that is ahead of its gallery tells of another past: the database was put back to a backup."""
        kept = self._home.open(gallery)
        if kept.revision > gallery.revision and kept.revision > self._store.galleries.get(gallery.name).revision:
            self._home.drop(gallery)
            kept = self._home.open(gallery)
        return kept

    def _forget_deleted(self) -> None:
        """Another process may have deleted galleries whose templates are still in this one's memory; looked for
        when a gallery is loaded, which costs far more."""
        loaded = self._versions()
        if loaded:
            existing = {gallery.key for gallery in every(self._store.galleries.list)}
            self._forget([version for version in loaded if version[0] not in existing])

    def living(self) -> dict[Version, Gallery]:
        """Every gallery, in every version of templates that it holds."""
        galleries = every(self._store.galleries.list)
        held = [gallery.of(version) for gallery in galleries for version in gallery.versions]
        return {version_of(gallery): gallery for gallery in held}

    def _versions(self) -> list[Version]:
        with self._lock:
            return list(self._open_indexes)

    def _forget(self, versions: list[Version]) -> None:
        with self._lock:
            for version in versions:
                self._open_indexes.pop(version, None)
