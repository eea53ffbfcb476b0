"""Each gallery's index with the keeper that is configured for it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Gallery
from facesvc.errors import IndexUnavailable
from facesvc.index.keeping import Keeper, Kept, Version


class GalleryKeepers:
    """index.keeping.Keeper that asks ``chosen`` by the gallery's name, and ``default`` for all other galleries.

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
