"""Opens the database and its master key, as configured. Needs neither model nor index."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path

from sqlalchemy import Engine

from facesvc.config import Settings
from facesvc.core.access import DEFAULT_TENANT, Caller
from facesvc.crypto.codec import Codec
from facesvc.crypto.envelope import Ed25519Signer, Envelope
from facesvc.crypto.keyring import INSTALLATION, Keyring
from facesvc.crypto.master import MasterKey, from_command, from_file, from_text, make_file
from facesvc.errors import MasterKeyUnavailable
from facesvc.service.api_keys import ApiKeys, TenantApiKeys
from facesvc.service.audit import Trail
from facesvc.service.encryption import Encryption, rotate_master
from facesvc.service.tenants import Register
from facesvc.storage.access import SqlApiKeys, SqlTenants
from facesvc.storage.audit import SqlAuditLog
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.disclosures import SqlDisclosures
from facesvc.storage.engine import connected
from facesvc.storage.galleries import versions_of_galleries
from facesvc.storage.keys import SqlKeyRows, anything_sealed
from facesvc.storage.migrate import upgrade
from facesvc.storage.rewrapping import Rewrapping
from facesvc.storage.store import Store
from facesvc.storage.transactions import EVERY_TENANT, Locks, Transactions

FILE = "master.key"
"""Of the master key, in the data folder, where no other is configured."""

logger = logging.getLogger(__name__)


def open_keyring(settings: Settings, engine: Engine) -> Keyring:
    """All keys of the database of ``engine``, which is migrated. Raises MasterKeyUnavailable where the master key can't
    be had, or is not the one that the database is sealed with."""
    keyring = Keyring(open_master(settings, engine), partial(SqlKeyRows, engine))
    keyring.require_master()
    return keyring


def open_master(settings: Settings, engine: Engine) -> MasterKey:
    """The master key: that of the environment, of a command, of a file, or of the data folder's own file. The last is
    made where nothing was ever sealed; a new key beside a sealed database would only hide that the right one is lost.
    Raises MasterKeyUnavailable."""
    known = configured(settings)
    if known is not None:
        return known[1]()
    path = settings.data / FILE
    if path.exists():
        return from_file(path)
    if is_sealed(engine):
        if path.exists():  # another process has just made both
            return from_file(path)
        raise MasterKeyUnavailable(f"the database is encrypted, and its master key is not here: {advice(path)}")
    made = make_file(path)
    logger.warning("new master key %s in %s: keep a copy, apart from backups of the database", made.id, path)
    return made


def configured(settings: Settings) -> tuple[str, Callable[[], MasterKey]] | None:
    """Where the master key comes from, in words, and how it is had; None where that is not said."""
    if settings.master_key is not None:
        return "FACESVC_MASTER_KEY", partial(from_text, settings.master_key.get_secret_value())
    if settings.master_key_command is not None:
        return "FACESVC_MASTER_KEY_COMMAND", partial(from_command, settings.master_key_command)
    if settings.master_key_file is not None:
        return str(settings.master_key_file), partial(from_file, settings.master_key_file)
    return None


def source(settings: Settings) -> str:
    """Where the master key comes from, in words."""
    known = configured(settings)
    return known[0] if known else str(settings.data / FILE)


def is_sealed(engine: Engine) -> bool:
    """Whether anything in the database was sealed with a master key. Raises StoreUnavailable."""
    with Transactions(engine, EVERY_TENANT).reading() as session:
        return anything_sealed(session)


def advice(path: Path) -> str:
    return f"put it to {path}, or set FACESVC_MASTER_KEY_FILE, FACESVC_MASTER_KEY or FACESVC_MASTER_KEY_COMMAND"


class Database:
    """engine: migrated. Raises MasterKeyUnavailable where its keys are first needed."""

    def __init__(self, engine: Engine, keyring: Keyring) -> None:
        self.engine, self.keyring = engine, keyring

    @cached_property
    def register(self) -> Register:
        rows = SqlTenants(self.engine, EVERY_TENANT)
        return Register(rows, self.keyring.tenant(INSTALLATION), self.keyring.maker, self.trail(DEFAULT_TENANT))

    @cached_property
    def api_keys(self) -> ApiKeys:
        return ApiKeys(SqlApiKeys(Locks(self.engine, EVERY_TENANT)), self.keyring.tenant(INSTALLATION))

    def codec(self, tenant: str) -> Codec:
        """What seals a tenant's rows, by its id. Raises TenantNotFound."""
        return Codec(self.keyring, tenant)

    def store(self, tenant: str) -> Store:
        """By the tenant's id. Raises TenantNotFound."""
        return Store(self.engine, tenant, self.codec(tenant))

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

    def tenant_api_keys(self, tenant: str) -> TenantApiKeys:
        """Return the use cases of a tenant's API keys."""
        return TenantApiKeys(self.api_keys, tenant, self.trail(tenant))

    def encryption(self, tenant: str) -> Encryption:
        """Return what brings the tenant's rows under other keys."""
        rows, rewrapping = SqlKeyRows(self.engine, tenant), Rewrapping(self.engine, tenant, self.codec(tenant))
        return Encryption(self.store(tenant), rows, rewrapping, self.keyring.maker, self.trail(tenant))

    def rotate_master(self, new: MasterKey) -> int:
        """Wrap all tenants' keys with another master key; see ``service.encryption.rotate_master``."""
        every = Transactions(self.engine, EVERY_TENANT)
        return rotate_master(every, self.keyring.master, new, map(self.trail, self.register.ids()))

    def signer(self, tenant: str) -> Ed25519Signer:
        """Of the tenant's receipts."""
        return Ed25519Signer(self.keyring.tenant(tenant).derive("receipts"))

    def held_versions(self) -> set[str]:
        """Template versions of all tenants' galleries."""
        return versions_of_galleries(Transactions(self.engine, EVERY_TENANT))


@contextmanager
def open_database(settings: Settings, serving: bool = False) -> Iterator[Database]:
    """Migrated first. serving: statements have an end. Raises StoreUnavailable, MasterKeyUnavailable."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    upgrade(settings.url)
    with connected(settings.url, settings.statement_seconds if serving else None) as engine:
        yield Database(engine, open_keyring(settings, engine))
