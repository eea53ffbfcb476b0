"""The end of what may be kept no longer.

Subjects that have expired answer nothing from that moment on, and are erased by the next who looks, or needs their
place.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from facesvc.core.erasure import Deleted, Expired
from facesvc.errors import FaceServiceError, SubjectNotFound
from facesvc.service.audit import Trail
from facesvc.storage.store import Store

PURGED_AT_ONCE = 100


class Expiry:
    """Erase what has expired of one tenant's store, with a line in the audit log for each subject. All raise
    StoreUnavailable."""

    def __init__(self, store: Store, audit: Trail) -> None:
        self.store, self.audit = store, audit

    def purge(self, limit: int = PURGED_AT_ONCE) -> int:
        """Erase subjects that have expired, at most so many, and return how many it were. What stops one's erasure
        stops no other's: raises the first failure at the end. Their vectors leave the indexes as these follow the
        database."""
        expired, failures = self.store.subjects.expired(limit), list[FaceServiceError]()
        for one in expired:
            try:
                self._erase(one)
            except FaceServiceError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return len(expired)

    def make_place(self, gallery: str, subject: str) -> bool:
        """Erase the subject of that id if it has expired, and return whether it had. Raises GalleryNotFound."""
        expired = self.store.subjects.find_expired(gallery, subject)
        if expired is not None:
            self._erase(expired)
        return expired is not None

    def forget_lapsed(self) -> None:
        """Forget answers to requests and receipts of erasures that were kept for a while."""
        self.store.answers.forget_lapsed()

    def _erase(self, expired: Expired) -> None:
        with (
            suppress(SubjectNotFound),  # another process was faster
            self.audit.change("erase", expired.gallery, expired.subject) as outcome,
        ):
            outcome.told = {"expired": True, **counted(self.store.subjects.delete_expired(expired.key))}


def counted(references: Sequence[Deleted]) -> dict[str, Any]:
    """What a line says of references that were deleted."""
    return {"references": len(references), "photographs": sum(deleted.had_photograph for deleted in references)}
