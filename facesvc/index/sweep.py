"""Proof that indexes and snapshots hold what the database holds, and nobody else."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Gallery
from facesvc.errors import GalleryNotFound
from facesvc.index.galleries import STEP, GalleryIndexes
from facesvc.index.homes import IndexHome
from facesvc.storage.store import Store

Keys = NDArray[np.int64]
LOOKS = 3
"""Others may write while two things are compared; what differs this often is wrong."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One gallery's templates of one version: how many the database has; how many keys its index (of this kind) has
    beyond those, and lacks; how many lie in files here, and how many of these should not."""

    gallery: str
    template_version: str
    references: int
    kind: str
    surplus: int
    missing: int
    on_disk: int
    surplus_on_disk: int

    @property
    def clean(self) -> bool:
        return not (self.surplus or self.missing or self.surplus_on_disk)


class Sweep:
    """Looks at all that is kept of one store's galleries, and deletes what should not be there."""

    def __init__(self, store: Store, home: IndexHome) -> None:
        self._store, self._home = store, home
        self._indexes = GalleryIndexes(store, home)

    def residue(self) -> list[str]:
        """Deletes what is kept of galleries that are not there; what it was. Raises IndexUnavailable."""
        return self._home.sweep(self._indexes.living)

    def galleries(self) -> Iterator[Compared]:
        """Each gallery in each version. Where its index or its files are not what they should be they are deleted,
        and made again when they are next needed. Raises StoreUnavailable, IndexUnavailable."""
        for gallery in self._indexes.living().values():
            try:
                found = self._compared(gallery)
            except GalleryNotFound:  # deleted since it was listed
                continue
            if not found.clean:
                self._indexes.drop(gallery)
            yield found

    def _compared(self, gallery: Gallery) -> Compared:
        for look in range(LOOKS):
            current = self._store.galleries.get(gallery.name).of(gallery.template_version)
            found = self._look(current)
            if found.clean or look == LOOKS - 1:
                return found
        raise AssertionError("LOOKS is at least one")

    def _look(self, gallery: Gallery) -> Compared:
        index = self._indexes.caught_up(gallery).index
        self._home.update_files(gallery, None)
        indexed = index.search(np.zeros((1, DIMENSION), np.float32), len(index))[1][0]  # whatever it holds is nearest
        on_disk, living = self._home.on_disk(gallery), self._living(gallery)
        return Compared(
            gallery=gallery.name,
            template_version=gallery.template_version,
            references=len(living),
            kind=index.kind,
            surplus=len(np.setdiff1d(indexed[indexed >= 0], living)),
            missing=len(np.setdiff1d(living, indexed)),
            on_disk=len(on_disk),
            surplus_on_disk=len(np.setdiff1d(on_disk, living)),
        )

    def _living(self, gallery: Gallery) -> Keys:
        """Keys of the gallery's templates, by reading them all."""
        keys: list[Keys] = [np.empty(0, np.int64)]
        revision = 0
        while revision < gallery.revision:
            changes = self._store.revisions.changes(gallery, revision, STEP)
            keys.append(changes.added)
            revision = changes.revision
        return np.concatenate(keys)
