"""The use cases of subjects: the people of a gallery."""

from datetime import UTC, datetime

from facesvc.core.erasure import Erased, Erasure, ErasureReceipt, receipt, statement
from facesvc.core.types import NewSubject, Page, Subject, SubjectChange
from facesvc.crypto.envelope import Ed25519Signer
from facesvc.errors import SubjectExists
from facesvc.index.galleries import GalleryIndexes
from facesvc.service.audit import Trail
from facesvc.service.disclosure import Watch
from facesvc.service.expiry import Expiry, counted
from facesvc.storage.store import Store


class Subjects:
    """The subjects of one tenant's galleries, for one caller, who is told of no more of them than its
    identities_per_day. Each use case writes its lines in the audit log. All raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        indexes: GalleryIndexes,
        expiry: Expiry,
        audit: Trail,
        watch: Watch,
        signer: Ed25519Signer,
    ) -> None:
        """signer: of the tenant's receipts."""
        self.store, self.indexes, self.expiry = store, indexes, expiry
        self.audit, self.watch, self.signer = audit, watch, signer

    def list(self, gallery: str, limit: int, cursor: str | None = None) -> Page[Subject]:
        """Return a page of a gallery's subjects. Raises GalleryNotFound, InvalidCursor, IdentityBudgetSpent,
        RequestError for a limit below one."""
        with self.audit.question("list_subjects", gallery) as outcome:
            page = self.store.subjects.list(gallery, limit, cursor)
            self.watch.told(page.items, self.audit.caller)
            outcome.told = {"subjects": len(page.items)}
        return page

    def get(self, gallery: str, subject: str) -> Subject:
        """Return a subject. Raises GalleryNotFound, SubjectNotFound, IdentityBudgetSpent."""
        with self.audit.question("read_subject", gallery, subject):
            found = self.store.subjects.get(gallery, subject)
            self.watch.told([found], self.audit.caller)
        return found

    def create(self, gallery: str, new: NewSubject) -> Subject:
        """Create a subject, in the place of one of that id that has expired. Raises GalleryNotFound, SubjectExists."""
        with self.audit.change("create_subject", gallery, new.id):
            while True:
                try:
                    return self.store.subjects.create(gallery, new)
                except SubjectExists:
                    if not self.expiry.make_place(gallery, new.id):
                        raise

    def update(self, gallery: str, subject: str, change: SubjectChange) -> Subject:
        """Change a subject. Raises GalleryNotFound, SubjectNotFound, IdentityBudgetSpent."""
        with self.audit.change("update_subject", gallery, subject):
            if self.audit.caller.identities_per_day is not None:  # the answer tells of all that was there before
                self.watch.told([self.store.subjects.get(gallery, subject)], self.audit.caller)
            return self.store.subjects.update(gallery, subject, change)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        """Raise an alarm, or none any more, where the subject matches. Raises GalleryNotFound, SubjectNotFound."""
        with self.audit.change("mark_canary", gallery, subject) as outcome:
            outcome.told = {"canary": canary}
            self.store.subjects.mark_canary(gallery, subject, canary)

    def delete(self, gallery: str, subject: str) -> None:
        """Delete a subject with its references and photographs. Raises GalleryNotFound, SubjectNotFound."""
        with self.audit.change("delete_subject", gallery, subject):
            self.store.subjects.delete(gallery, subject)

    def erase(self, gallery: str, subject: str) -> ErasureReceipt:
        """Delete the subject with all that is kept of it, take its vectors out of the indexes and their snapshots, look
        whether anything is left, and sign what was done. Where that ended early, asking again goes on with it; for a
        day after its end, the receipt is given again. Raises GalleryNotFound, SubjectNotFound, IndexUnavailable."""
        with self.audit.change("erase", gallery, subject) as outcome:
            erasure = self.store.erasures.begin(gallery, subject)
            erased = self._purge(gallery, erasure) if erasure.statement is None else None
            outcome.told = counted(erasure.references) if erased else {"repeated": True}
        stated = erasure.statement or {}
        if erased:
            caller = self.audit.caller
            stated = self.store.erasures.finish(erasure, statement(erased, caller.tenant, caller.key, outcome.head))
        return receipt(stated, gallery, subject, self.signer.sign)

    def _purge(self, gallery: str, erasure: Erasure) -> Erased:
        """Takes the vectors of what an erasure deleted out of the indexes and their snapshots, and looks whether
        anything is left. Raises GalleryNotFound, IndexUnavailable, OSError; can be done again."""
        home = self.store.galleries.get(gallery)
        on_disk = self.indexes.purge(home, [reference.key for reference in erasure.references])
        return Erased(
            references=tuple(reference.id for reference in erasure.references),
            photographs=sum(reference.had_photograph for reference in erasure.references),
            erased_at=datetime.now(UTC),
            remaining={"database": self.store.erasures.remaining(erasure), "snapshots": on_disk},
        )
