"""The opened database: its connections, its keys, and whose rows are whose. The part of the composition root that
needs neither model nor index."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from sqlalchemy import Engine

from facesvc.config import Settings
from facesvc.core.access import Caller
from facesvc.core.keys import INSTALLATION
from facesvc.crypto.codec import SealedCodec
from facesvc.crypto.envelope import Ed25519Signer, Envelope
from facesvc.crypto.keyring import Keyring
from facesvc.keying import open_keyring
from facesvc.service.api_keys import ApiKeys, KeyDesk
from facesvc.service.audit import Trail
from facesvc.service.tenants import Register
from facesvc.storage.access import SqlApiKeys, SqlTenants
from facesvc.storage.audit import SqlAuditLog
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.disclosures import SqlDisclosures
from facesvc.storage.engine import connected
from facesvc.storage.migrate import upgrade
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.transactions import EVERY_TENANT, Locks


class Database:
    """engine: migrated. Raises MasterKeyUnavailable where its keys are first needed."""

    def __init__(self, engine: Engine, keyring: Keyring) -> None:
        self.engine, self.keyring = engine, keyring

    @cached_property
    def register(self) -> Register:
        rows = SqlTenants(self.engine, EVERY_TENANT)
        return Register(rows, self.keyring.tenant(INSTALLATION), self.keyring.maker)

    @cached_property
    def api_keys(self) -> ApiKeys:
        return ApiKeys(SqlApiKeys(Locks(self.engine, EVERY_TENANT)), self.keyring.tenant(INSTALLATION))

    def codec(self, tenant: str) -> SealedCodec:
        """What seals a tenant's rows, by its id. Raises TenantNotFound."""
        return SealedCodec(self.keyring, tenant)

    def store(self, tenant: str) -> SqlReferenceStore:
        """By the tenant's id. Raises TenantNotFound."""
        return SqlReferenceStore(self.engine, tenant, self.codec(tenant))

    def exchange(self, tenant: str) -> SqlExchange:
        """The way for whole galleries out of its store and into it. Raises TenantNotFound."""
        return SqlExchange(self.engine, tenant, self.codec(tenant))

    def snapshots(self, tenant: str) -> Envelope:
        """How the snapshots of a tenant's indexes are kept."""
        return self.keyring.tenant(tenant).envelope("snapshots")

    def audit(self, tenant: str) -> SqlAuditLog:
        return SqlAuditLog(self.engine, tenant, self.keyring.tenant(tenant).chain())

    def disclosures(self, tenant: str) -> SqlDisclosures:
        """What its answers tell of whom."""
        return SqlDisclosures(self.engine, tenant, self.codec(tenant))

    def trail(self, tenant: str) -> Trail:
        """What is noted of commands on this machine; a server's requests have a caller of their own."""
        log = self.audit(tenant)
        return Trail(log, log.chain, Caller(tenant))

    def key_desk(self, tenant: str) -> KeyDesk:
        return KeyDesk(self.api_keys, tenant, self.trail(tenant))

    def signer(self, tenant: str) -> Ed25519Signer:
        """Of the tenant's receipts."""
        return Ed25519Signer(self.keyring.tenant(tenant).derive("receipts"))

    def held_versions(self) -> set[str]:
        """Template versions of all tenants' galleries."""
        stores = (SqlReferenceStore(self.engine, tenant) for tenant in self.register.ids())  # no key is needed for it
        return {version for store in stores for version in store.held_versions()}


@contextmanager
def open_database(settings: Settings, serving: bool = False) -> Iterator[Database]:
    """Migrated first. serving: statements have an end. Raises StoreUnavailable, MasterKeyUnavailable."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    upgrade(settings.url)
    with connected(settings.url, settings.statement_seconds if serving else None) as engine:
        yield Database(engine, open_keyring(settings, engine))
