"""Indexes of this process, each with a snapshot on disk from which the next process has it at once."""

import hashlib
import logging
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Gallery
from facesvc.errors import StoreError
from facesvc.index.homes import InMemory, PlacedIndex, Version, name_of, version_of
from facesvc.index.snapshot import Manifest, NoSeal, Seal, Snapshot, Storable
from facesvc.storage.store import Store

LEAST = 10_000
"""References from which a gallery has a snapshot: fewer come from the database in a fraction of a second, and what is
not there needs no protection."""
GROWTH = 20
"""A snapshot is written anew when a twentieth of the index is not in it: that much is caught up with at a start."""
COMPARED = 16
"""References of a snapshot that are compared with the database's before it is believed."""

logger = logging.getLogger(__name__)


class Snapshotted(InMemory):
    """An index of this process that snapshots can be taken of."""

    def __init__(self, index: Storable, revision: int = 0) -> None:
        super().__init__(index, revision)
        self.codes = index


class SnapshotHome:
    """index.homes.IndexHome over the folder of one database's snapshots. ``open_index`` makes an empty index for a
    gallery's templates of ``gallery.template_version``; seal: how files are kept."""

    def __init__(
        self,
        open_index: Callable[[Gallery], Storable],
        store: Store,
        folder: Path,
        least: int = LEAST,
        seal: Seal = NoSeal(),  # noqa: B008  it has no state
    ) -> None:
        self._open_index, self._store, self._folder, self._least = open_index, store, folder, least
        self._seal = seal

    def open(self, gallery: Gallery) -> Snapshotted:
        snapshot, index = self.snapshot(gallery), self._open_index(gallery)
        revision = snapshot.load(index)
        if revision and self._is_of(gallery, index, revision):
            return Snapshotted(index, revision)
        if revision:
            logger.warning("snapshot %s is of another database's gallery: deleted", snapshot.folder.name)
            snapshot.delete()
        return Snapshotted(self._open_index(gallery))

    def snapshot(self, gallery: Gallery) -> Snapshot:
        """That of the gallery's templates of ``gallery.template_version``, there or not."""
        owner = f"{gallery.key} {gallery.created_at.isoformat()} {gallery.template_version} issue {gallery.issue}"
        folder = self._folder / _name(version_of(gallery))
        return Snapshot(folder, hashlib.sha256(owner.encode()).hexdigest(), self._seal)

    def update_files(self, gallery: Gallery, kept: PlacedIndex | None) -> None:
        """Takes removed references out of the snapshot, and adds new ones where they are many (from ``kept``, if the
        index is open here). Raises StoreUnavailable, OSError."""
        snapshot = self.snapshot(gallery)
        known = snapshot.manifest()
        if known is not None and known.purged < gallery.revision:
            removed, revision = self._store.revisions.removals(gallery, known.purged)
            if len(removed):
                snapshot.purge(removed, revision)
                known = snapshot.manifest()
        if isinstance(kept, Snapshotted) and self._is_worth_it(kept.codes, known):
            with kept.writing():
                keys, revision = kept.codes.keys(), kept.revision
            snapshot.write(kept.codes, keys, revision)

    def elsewhere(self, gallery: Gallery) -> bool:
        return False

    def on_disk(self, gallery: Gallery) -> NDArray[np.int64]:
        snapshot = self.snapshot(gallery)
        return snapshot.keys() if snapshot.folder.exists() else np.empty(0, np.int64)

    def drop(self, gallery: Gallery) -> None:
        for folder in self._folders(f"{gallery.key}-*"):
            _delete(folder)

    def sweep(self, living: Callable[[], Collection[Version]]) -> list[str]:
        there = self._folders("*-*")
        names = {_name(version) for version in living()} if there else set()
        gone = [folder for folder in there if folder.name not in names]
        for folder in gone:
            _delete(folder)
        return [f"snapshot {folder.name} of a gallery that is not there" for folder in gone]

    def _folders(self, pattern: str) -> list[Path]:
        return sorted(path for path in self._folder.glob(pattern) if path.is_dir())

    def _is_worth_it(self, index: Storable, known: Manifest | None) -> bool:
        count = len(index)
        if known is None:
            return count >= self._least
        return known.code_size != index.frame().code_size or count - known.references > count // GROWTH

    def _is_of(self, gallery: Gallery, index: Storable, revision: int) -> bool:
        """Whether the snapshot was made of this database's gallery, and not before the database was put back to an
        earlier state: then revisions and keys have been given out a second time since."""
        if revision > max(gallery.revision, self._store.galleries.get(gallery.name).revision):
            return False
        stored = self._store.references.by_key(gallery, np.sort(index.keys())[-COMPARED:].tolist())
        if not stored:
            return True
        keys = np.array([reference.key for reference in stored], np.int64)
        afresh = self._open_index(gallery)
        try:
            afresh.adopt(index.frame())
            vectors = np.stack([reference.sample.template.vector for reference in stored])
            afresh.add(keys, self._store.revisions.issued(gallery, vectors))
        except StoreError:
            return False
        return np.array_equal(index.codes(keys)[1], afresh.codes(keys)[1])


def _name(version: Version) -> str:
    """Of a snapshot's folder."""
    return name_of(version).replace("_", "-")


def _delete(folder: Path) -> None:
    Snapshot(folder, "").delete()
    folder.with_name(folder.name + ".lock").unlink(missing_ok=True)
