"""The use cases of galleries."""

from contextlib import suppress

from facesvc.core.ports import Extractors
from facesvc.core.types import Gallery, GalleryChange, NewGallery, Page
from facesvc.errors import GalleryExists, GalleryNotFound
from facesvc.index.galleries import GalleryIndexes
from facesvc.service.audit import Trail
from facesvc.storage.store import Store


class Galleries:
    """The galleries of one tenant, for one caller. Each change writes its lines in the audit log; what is read of
    galleries tells of nobody, and leaves none. All raise StoreUnavailable."""

    def __init__(self, extractors: Extractors, store: Store, indexes: GalleryIndexes, audit: Trail) -> None:
        self.extractors, self.store, self.indexes, self.audit = extractors, store, indexes, audit

    def list(self, limit: int, cursor: str | None = None) -> Page[Gallery]:
        """Return a page of the galleries. Raises InvalidCursor, RequestError for a limit below one."""
        return self.store.galleries.list(limit, cursor)

    def get(self, name: str) -> Gallery:
        """Return a gallery. Raises GalleryNotFound."""
        return self.store.galleries.get(name)

    def create(self, new: NewGallery, template_version: str | None = None) -> Gallery:
        """Create a gallery for templates of this version; None for that of the pack in use. Raises GalleryExists."""
        with self.audit.change("create_gallery", new.name):
            return self.store.galleries.create(new, template_version or self.extractors.default_version)

    def ensure(self, new: NewGallery, template_version: str | None = None) -> tuple[Gallery, bool]:
        """Return the gallery of that name, created if it is new, and whether it was created here."""
        try:
            return self.store.galleries.get(new.name), False
        except GalleryNotFound:
            with suppress(GalleryExists):  # another process was faster
                return self.create(new, template_version), True
            return self.store.galleries.get(new.name), False

    def update(self, name: str, change: GalleryChange) -> Gallery:
        """Change a gallery. Raises GalleryNotFound."""
        with self.audit.change("update_gallery", name) as outcome:
            outcome.told = {"keep_photographs": change.keep_photographs}
            return self.store.galleries.update(name, change)

    def delete(self, name: str) -> None:
        """Delete a gallery with its subjects, references, photographs and index. Raises GalleryNotFound."""
        with self.audit.change("delete_gallery", name):
            gallery = self.store.galleries.get(name)
            self.store.galleries.delete(name)
            self.indexes.drop(gallery)
