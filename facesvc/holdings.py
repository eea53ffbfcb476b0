"""The care of what is kept: galleries, subjects, references, photographs."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from facesvc.core.erasure import Erased
from facesvc.core.names import require_name
from facesvc.core.ports import Extractors, GalleryIndexes, ReferenceStore
from facesvc.core.retention import NO_LIMIT, Retention
from facesvc.core.types import Gallery, Photograph, Reference, Subject
from facesvc.errors import GalleryExists, GalleryNotFound, ReferenceNotFound, SubjectNotFound

REFERENCES_AT_ONCE = 500
"""References read from the store in one go."""
PURGED_AT_ONCE = 100


class Holdings:
    """What one tenant keeps. All raise StoreUnavailable."""

    def __init__(self, extractors: Extractors, store: ReferenceStore, indexes: GalleryIndexes) -> None:
        self.extractors, self.store, self.indexes = extractors, store, indexes

    def create_gallery(
        self, name: str, keep_photographs: bool = False, metadata: Mapping[str, Any] | None = None
    ) -> Gallery:
        """A gallery for templates of the pack in use. Raises GalleryExists, RequestError for a bad name."""
        require_name(name)
        version = self.extractors.default.template_version
        return self.store.create_gallery(name, version, keep_photographs, metadata or {})

    def ensure_gallery(self, name: str) -> Gallery:
        """The gallery of that name, created if it is new."""
        try:
            return self.store.gallery(name)
        except GalleryNotFound:
            with suppress(GalleryExists):  # another process was faster
                return self.create_gallery(name)
            return self.store.gallery(name)

    def delete_gallery(self, name: str) -> None:
        """Deletes the gallery, its subjects, references, photographs and index. Raises GalleryNotFound."""
        gallery = self.store.gallery(name)
        self.store.delete_gallery(name)
        self.indexes.drop(gallery)

    def create_subject(
        self,
        gallery: str,
        subject: str,
        display_name: str | None,
        metadata: Mapping[str, Any],
        retention: Retention = NO_LIMIT,
    ) -> Subject:
        """Raises GalleryNotFound, SubjectExists, RequestError for a bad name."""
        require_name(subject)
        return self.store.create_subject(gallery, subject, display_name, metadata, retention)

    def update_gallery(
        self, name: str, *, keep_photographs: bool | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Gallery:
        """Changes what is not None; see ``core.ports.ReferenceStore.update_gallery``."""
        return self.store.update_gallery(name, keep_photographs=keep_photographs, metadata=metadata)

    def update_subject(
        self,
        gallery: str,
        subject: str,
        *,
        display_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        retention: Retention = NO_LIMIT,
    ) -> Subject:
        """Changes what is not None. Raises GalleryNotFound, SubjectNotFound."""
        changes = {"display_name": display_name, "metadata": metadata, "retention": retention}
        return self.store.update_subject(gallery, subject, **changes)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        """Raises GalleryNotFound, SubjectNotFound."""
        self.store.mark_canary(gallery, subject, canary)

    def delete_subject(self, gallery: str, subject: str) -> None:
        """Raises GalleryNotFound, SubjectNotFound."""
        self.store.delete_subject(gallery, subject)

    def purge_expired(self, limit: int = PURGED_AT_ONCE) -> int:
        """Erases subjects that have expired, at most so many; how many it were."""
        expired = self.store.expired(limit)
        for gallery, subject in expired:
            with suppress(GalleryNotFound, SubjectNotFound):  # another process was faster
                self.erase_subject(gallery, subject)
        return len(expired)

    def erase_subject(self, gallery: str, subject: str) -> Erased:
        """Deletes the subject with all that is kept of it, takes its vectors out of the indexes and their snapshots,
        and looks whether anything is left. Raises GalleryNotFound, SubjectNotFound, IndexUnavailable."""
        references = self.store.delete_subject(gallery, subject)
        home, keys = self.store.gallery(gallery), [reference.key for reference in references]
        on_disk = self.indexes.purge(home, keys)
        return Erased(
            gallery=gallery,
            subject=subject,
            references=tuple(reference.id for reference in references),
            photographs=sum(reference.had_photograph for reference in references),
            erased_at=datetime.now(UTC),
            remaining={"database": len(self.store.references_by_key(home, keys)), "snapshots": on_disk},
        )

    def delete_reference(self, gallery: str, subject: str, reference: str) -> None:
        """Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound."""
        self.store.delete_reference(gallery, subject, reference)

    def photograph(self, gallery: str, subject: str, reference: str) -> Photograph:
        """Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound, PhotographNotFound."""
        return self.store.photograph(gallery, subject, reference)

    def reference(self, gallery: str, subject: str, reference: str) -> Reference:
        """Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound."""
        for found in self.references(gallery, subject):
            if found.id == reference:
                return found
        raise ReferenceNotFound(f"subject {subject!r} has no reference {reference!r}")

    def ready(self) -> None:
        """Raises StoreUnavailable unless the database answers."""
        self.store.ping()

    def references(self, gallery: str, subject: str) -> Iterator[Reference]:
        """All of a subject's, oldest first. Raises GalleryNotFound, SubjectNotFound."""
        cursor: str | None = None
        while True:
            page = self.store.references(gallery, subject, REFERENCES_AT_ONCE, cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return
