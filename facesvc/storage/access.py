"""Rows of tenants and of their API keys.

The rows of tenants, and the deletion of all that is theirs.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from facesvc.core.access import DEFAULT_TENANT, StoredKey, StoredTenant
from facesvc.crypto.keyring import INSTALLATION, Maker
from facesvc.errors import ApiKeyNotFound, TenantNotFound
from facesvc.storage.engine import wipe_log
from facesvc.storage.keys import hold_keys, put_tenant
from facesvc.storage.tables import ApiKeyRow, Table, TenantRow
from facesvc.storage.transactions import Locks


class SqlApiKeys:
    """Keep the rows of API keys, on SQLite or PostgreSQL. Nothing is held in memory: a key that is revoked is so for
    the next request to any process. All methods raise StoreUnavailable."""

    def __init__(self, locks: Locks) -> None:
        """locks: of all tenants."""
        self._rows = locks

    def find(self, key: str) -> StoredKey | None:
        """Return the key of this id, of whatever tenant."""
        with self._rows.reading() as session:
            row = session.get(ApiKeyRow, key)
            return row and _as_stored(row)

    def add(self, new: StoredKey) -> None:
        with self._rows.writing() as session:
            session.add(ApiKeyRow(**asdict(new)))

    def add_first(self, new: StoredKey) -> bool:
        """Add the key if no tenant has one; return whether it was added. Of several processes at once, one adds."""
        with self._rows.alone("first API key"), self._rows.writing() as session:
            if session.scalar(select(func.count()).select_from(ApiKeyRow)):
                return False
            session.add(ApiKeyRow(**asdict(new)))
            return True

    def of_tenant(self, tenant: str) -> Sequence[StoredKey]:
        """Return the keys of a tenant, oldest first."""
        query = select(ApiKeyRow).where(ApiKeyRow.tenant == tenant).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
        with self._rows.reading() as session:
            return [_as_stored(row) for row in session.scalars(query)]

    def change(
        self, tenant: str, key: str, renew: Callable[[StoredKey], bytes], added: StoredKey | None = None
    ) -> StoredKey:
        """Seal the key as ``renew`` does, given it as it is, while nobody else changes it, and add another with it.

        Both or, where ``renew`` raises, nothing. Return the key as it is then. Raises ApiKeyNotFound.
        """
        with self._rows.writing() as session:
            row = _locked(session, tenant, key)
            row.sealed = renew(_as_stored(row))
            if added is not None:
                session.add(ApiKeyRow(**asdict(added)))
            return _as_stored(row)


def _locked(session: Session, tenant: str, key: str) -> ApiKeyRow:
    """Raises ApiKeyNotFound, for another tenant's as for one that is not there."""
    row = session.get(ApiKeyRow, key, with_for_update=True)
    if row is None or row.tenant != tenant:
        raise ApiKeyNotFound(f"no API key {key!r}")
    return row


def _as_stored(row: ApiKeyRow) -> StoredKey:
    return StoredKey(**{column: getattr(row, column) for column in StoredKey.__dataclass_fields__})


class SqlTenants(Locks):
    """Keep the rows of tenants. All methods raise StoreUnavailable."""

    def ping(self) -> None:
        """Read one row at most, to see whether the database answers."""
        with self.reading() as session:
            session.execute(select(TenantRow.tenant).limit(1))

    def all(self) -> Sequence[StoredTenant]:
        """Return the tenants in the order in which they were made; the default tenant is there from the start."""
        query = select(TenantRow).where(TenantRow.tenant != INSTALLATION)
        with self.reading() as session:
            rows = session.scalars(query.order_by(TenantRow.created_at, TenantRow.tenant))
            found = [StoredTenant(row.tenant, row.sealed, row.created_at) for row in rows]
        if all(tenant.id != DEFAULT_TENANT for tenant in found):
            found.insert(0, StoredTenant(DEFAULT_TENANT, None, datetime.fromtimestamp(0, UTC)))
        return found

    def add(self, new: StoredTenant, maker: Maker) -> None:
        """Add a tenant with keys of its own. Raises MasterKeyUnavailable where the maker's master key was replaced."""
        with self.writing() as session:
            hold_keys(session, maker)
            put_tenant(session, new, maker.made(new.id))

    def delete(self, tenant: str) -> None:
        """Delete every row of a tenant. Raises TenantNotFound."""
        with self.writing() as session:
            if tenant == INSTALLATION or not _delete(session, TenantRow, tenant):
                raise TenantNotFound(f"no tenant {tenant!r}")
            for table in reversed(Table.metadata.sorted_tables):
                session.execute(delete(table).where(table.c.tenant == tenant))
        wipe_log(self.engine)


def _delete(session: Session, table: type[Table], tenant: str) -> bool:
    """Whether there was a row."""
    return session.execute(delete(table).where(table.tenant == tenant).returning(table.tenant)).first() is not None
