"""What searches and comparisons read of a store: they walk far through what is near, so each method reads no more than
it says."""

from collections.abc import Sequence
from typing import Protocol

from facesvc.core.types import Gallery, Reference, Vectors


class ComparableStore(Protocol):
    """Of one tenant's galleries, as their templates of ``gallery.template_version`` have them; subjects that have
    expired are not there. Raises StoreUnavailable."""

    def owners(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, int]:
        """Of those of keys that (still) exist in the gallery and have a template: the subject's own number. Nothing is
        opened."""
        ...

    def vectors(self, gallery: Gallery, keys: Sequence[int]) -> dict[int, Vectors]:
        """The template's vector, (128,) float32, of those of keys, all of this gallery, that (still) have one."""
        ...

    def comparable(self, gallery: Gallery, subject: str) -> list[int]:
        """Keys of the subject's references that have a template, oldest first. Raises GalleryNotFound,
        SubjectNotFound."""
        ...

    def answering(self, gallery: Gallery, most: int) -> int:
        """How many subjects have a template at all; counted up to ``most``."""
        ...

    def references_by_key(self, gallery: Gallery, keys: Sequence[int]) -> list[Reference]:
        """Those of keys that (still) exist in the gallery and have a template of ``gallery.template_version``, in any
        order."""
        ...
