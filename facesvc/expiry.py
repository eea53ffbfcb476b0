"""The end of those who may be kept no longer: they answer nothing from that moment on, and are erased by whoever looks
next, or needs their place."""

from collections.abc import Sequence
from contextlib import suppress

from facesvc.core.erasure import Deleted, Expired
from facesvc.core.ports import ReferenceStore
from facesvc.errors import FaceServiceError, SubjectNotFound

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
