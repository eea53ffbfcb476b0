"""The use cases of references: the stored templates of a subject, and the photographs they came from."""

from facesvc.core.types import Page, Photograph, Reference
from facesvc.service.audit import Trail
from facesvc.service.disclosure import Watch
from facesvc.storage.store import Store


class References:
    """The references of one tenant's subjects, for one caller, who is told of no more subjects than its
    identities_per_day. Each use case writes its lines in the audit log. All raise StoreUnavailable."""

    def __init__(self, store: Store, audit: Trail, watch: Watch) -> None:
        self.store, self.audit, self.watch = store, audit, watch

    def list(self, gallery: str, subject: str, limit: int, cursor: str | None = None) -> Page[Reference]:
        """Return a page of a subject's references, oldest first. Raises GalleryNotFound, SubjectNotFound,
        InvalidCursor, IdentityBudgetSpent, RequestError for a limit below one."""
        with self.audit.question("list_references", gallery, subject) as outcome:
            page = self.store.references.list(gallery, subject, limit, cursor)
            self.watch.told_by([reference.id for reference in page.items], self.audit.caller)
            outcome.told = {"references": len(page.items)}
        return page

    def get(self, gallery: str, subject: str, reference: str) -> Reference:
        """Return a reference. Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound, IdentityBudgetSpent."""
        with self.audit.question("read_reference", gallery, subject) as outcome:
            found = self.store.references.get(gallery, subject, reference)
            self.watch.told_by([found.id], self.audit.caller)
            outcome.told = {"reference": found.id}
        return found

    def delete(self, gallery: str, subject: str, reference: str) -> None:
        """Delete a reference and its photograph. Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound."""
        with self.audit.change("delete_reference", gallery, subject) as outcome:
            outcome.told = {"reference": reference}
            self.store.references.delete(gallery, subject, reference)

    def photograph(self, gallery: str, subject: str, reference: str) -> Photograph:
        """Return the photograph of a reference. Raises GalleryNotFound, SubjectNotFound, ReferenceNotFound,
        PhotographNotFound, IdentityBudgetSpent."""
        with self.audit.question("read_photograph", gallery, subject) as outcome:
            outcome.told = {"reference": reference}
            found = self.store.references.photograph(gallery, subject, reference)
            self.watch.told_by([reference], self.audit.caller)
        return found
