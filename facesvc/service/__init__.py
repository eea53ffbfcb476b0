"""The use cases, one file a noun. Each writes its own lines in the audit log; ``FaceService`` composes them."""

from dataclasses import dataclass, replace

from facesvc.core.access import Caller
from facesvc.core.ports import Extractors
from facesvc.crypto.envelope import Ed25519Signer
from facesvc.index.galleries import GalleryIndexes
from facesvc.service.api_keys import ApiKeys, TenantApiKeys
from facesvc.service.audit import Trail
from facesvc.service.decisions import Decisions
from facesvc.service.disclosure import Watch
from facesvc.service.enrolment import Enrolments
from facesvc.service.expiry import Expiry
from facesvc.service.galleries import Galleries
from facesvc.service.model_changes import ModelChanges
from facesvc.service.references import References
from facesvc.service.subject_export import SubjectExports
from facesvc.service.subjects import Subjects
from facesvc.service.transfer import PackOf, Transfers
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.store import Store


@dataclass(frozen=True, slots=True)
class Resources:
    """What the use cases of one tenant work with. api_keys: of all tenants; signer: of the tenant's receipts;
    max_references: of one subject, None for any number."""

    extractors: Extractors
    store: Store
    indexes: GalleryIndexes
    exchange: SqlExchange
    watch: Watch
    signer: Ed25519Signer
    api_keys: ApiKeys
    pack_of: PackOf
    max_references: int | None = None


class FaceService:
    """All that the edges (HTTP, CLI) may ask for, of one tenant, for the caller of ``audit``."""

    def __init__(self, resources: Resources, audit: Trail) -> None:
        own = self.resources = resources
        self.audit = audit
        self.expiry = Expiry(own.store, audit)
        self.decisions = Decisions(own.extractors, own.store, own.indexes, audit, own.watch)
        self.enrolments = Enrolments(own.extractors, own.store, self.expiry, audit, own.max_references)
        self.galleries = Galleries(own.extractors, own.store, own.indexes, audit)
        self.subjects = Subjects(own.store, own.indexes, self.expiry, audit, own.watch, own.signer)
        self.subject_exports = SubjectExports(own.store, audit, own.watch)
        self.references = References(own.store, audit, own.watch)
        self.model_changes = ModelChanges(own.extractors, own.store, audit)
        self.transfers = Transfers(own.store, own.exchange, self.galleries, self.expiry, audit, own.pack_of)
        self.api_keys = TenantApiKeys(own.api_keys, audit.caller.tenant, audit)

    def by(self, caller: Caller, request: str | None = None) -> "FaceService":
        """Return the same service for another caller: galleries that it may not use are not there. request: the id by
        which logs and answers know what is asked."""
        own = self.resources
        if caller.galleries is not None:
            own = replace(own, store=own.store.seen_by(caller.galleries))
        return FaceService(own, self.audit.by(caller, request))
