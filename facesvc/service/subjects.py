"""The care of what is kept: galleries, subjects, references, photographs.

The end of those who may be kept no longer: they answer nothing from that moment on, and are erased by whoever looks
next, or needs their place.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from facesvc.core.erasure import Deleted, Erased, Erasure, Expired
from facesvc.core.ports import Extractors, ReferenceStore
from facesvc.core.types import (
    Gallery,
    GalleryChange,
    NewGallery,
    NewSubject,
    Page,
    Photograph,
    Reference,
    Subject,
    SubjectChange,
    every,
)
from facesvc.errors import FaceServiceError, GalleryExists, GalleryNotFound, SubjectExists, SubjectNotFound
from facesvc.index.galleries import GalleryIndexes

PURGED_AT_ONCE = 100


class Expiry:
    """Of one tenant's subjects. All raise StoreUnavailable."""

    store: ReferenceStore

    def purge_expired(self, limit: int = PURGED_AT_ONCE) -> int:
        """Erases subjects that have expired, at most so many; how many it were. What stops one's erasure stops no
        other's: raises the first failure at the end. Their vectors leave the indexes as these follow the database."""
        expired, failures = self.store.expired(limit), list[FaceServiceError]()
        for one in expired:
            try:
                self._erase(one)
            except FaceServiceError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return len(expired)

    def make_place(self, gallery: str, subject: str) -> bool:
        """Erases the subject of that name if it has expired; whether it had. Raises GalleryNotFound."""
        expired = self.store.expired_subject(gallery, subject)
        if expired is not None:
            self._erase(expired)
        return expired is not None

    def erase_expired(self, expired: Expired) -> Sequence[Deleted]:
        """The references that went with it. Raises SubjectNotFound."""
        return self.store.delete_expired(expired.key)

    def _erase(self, expired: Expired) -> None:
        with suppress(SubjectNotFound):  # another process was faster
            self.erase_expired(expired)


class Holdings(Expiry):
    """What one tenant keeps. All raise StoreUnavailable."""

    def __init__(self, extractors: Extractors, store: ReferenceStore, indexes: GalleryIndexes) -> None:
        self.extractors, self.store, self.indexes = extractors, store, indexes

    def create_gallery(self, new: NewGallery) -> Gallery:
        """Create a gallery for templates of the pack in use. Raises GalleryExists."""
        return self.store.create_gallery(new, self.extractors.default.template_version)

    def ensure_gallery(self, name: str) -> Gallery:
        """The gallery of that name, created if it is new."""
        try:
            return self.store.gallery(name)
        except GalleryNotFound:
            with suppress(GalleryExists):  # another process was faster
                return self.create_gallery(NewGallery(name))
            return self.store.gallery(name)

    def delete_gallery(self, name: str) -> None:
        """Deletes the gallery, its subjects, references, photographs and index. Raises GalleryNotFound."""
        gallery = self.store.gallery(name)
        self.store.delete_gallery(name)
        self.indexes.drop(gallery)

    def create_subject(self, gallery: str, new: NewSubject) -> Subject:
        """Create a subject, in the place of one of that id that has expired. Raises GalleryNotFound, SubjectExists."""
        while True:
            try:
                return self.store.create_subject(gallery, new)
            except SubjectExists:
                if not self.make_place(gallery, new.id):
                    raise

    def update_gallery(self, name: str, change: GalleryChange) -> Gallery:
        """Change a gallery. Raises GalleryNotFound."""
        return self.store.update_gallery(name, change)

    def update_subject(self, gallery: str, subject: str, change: SubjectChange) -> Subject:
        """Change a subject. Raises GalleryNotFound, SubjectNotFound."""
        return self.store.update_subject(gallery, subject, change)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        """Raises GalleryNotFound, SubjectNotFound."""
        self.store.mark_canary(gallery, subject, canary)

    def delete_subject(self, gallery: str, subject: str) -> None:
        """Raises GalleryNotFound, SubjectNotFound."""
        self.store.delete_subject(gallery, subject)

    def purged(self, gallery: str, erasure: Erasure) -> Erased:
        """Takes the vectors of what an erasure deleted out of the indexes and their snapshots, and looks whether
        anything is left. Raises GalleryNotFound, IndexUnavailable, OSError; can be done again."""
        home = self.store.gallery(gallery)
        on_disk = self.indexes.purge(home, [reference.key for reference in erasure.references])
        return Erased(
            references=tuple(reference.id for reference in erasure.references),
            photographs=sum(reference.had_photograph for reference in erasure.references),
            erased_at=datetime.now(UTC),
            remaining={"database": self.store.remaining(erasure), "snapshots": on_disk},
        )

    def delete_reference(self, gallery: str, subject: str, reference: str) -> None:
        """Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound."""
        self.store.delete_reference(gallery, subject, reference)

    def photograph(self, gallery: str, subject: str, reference: str) -> Photograph:
        """Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound, PhotographNotFound."""
        return self.store.photograph(gallery, subject, reference)

    def list_subjects(self, gallery: str, limit: int, cursor: str | None = None) -> Page[Subject]:
        """Raises GalleryNotFound, InvalidCursor, RequestError for a limit below one."""
        return self.store.subjects(gallery, limit, cursor)

    def read_subject(self, gallery: str, subject: str) -> Subject:
        """Raises GalleryNotFound, SubjectNotFound."""
        return self.store.subject(gallery, subject)

    def list_references(self, gallery: str, subject: str, limit: int, cursor: str | None = None) -> Page[Reference]:
        """Oldest first. Raises GalleryNotFound, SubjectNotFound, InvalidCursor, RequestError for a limit below one."""
        return self.store.references(gallery, subject, limit, cursor)

    def read_reference(self, gallery: str, subject: str, reference: str) -> Reference:
        """Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound."""
        return self.store.reference(gallery, subject, reference)

    def references(self, gallery: str, subject: str) -> Iterator[Reference]:
        """All of a subject's, oldest first. Raises GalleryNotFound, SubjectNotFound."""
        return every(partial(self.store.references, gallery, subject))
