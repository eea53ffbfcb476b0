"""The use cases of tenants as such: made, called by name, listed, deleted.

A tenant's name may be a client's, so that it is sealed; its id is random and stands in rows, logs and folders.
"""

import secrets
from datetime import UTC, datetime
from typing import Protocol

from facesvc.core.access import DEFAULT_TENANT, StoredTenant, Tenant, TenantRows
from facesvc.core.keys import KeyMaker
from facesvc.core.names import require_name
from facesvc.crypto.envelope import Envelope
from facesvc.errors import RequestError, TenantExists, TenantNotFound


class Secrets(Protocol):
    """Of the installation, such as ``crypto.keyring.TenantKeys``."""

    def envelope(self, purpose: str) -> Envelope: ...


class Register:
    """Of all tenants. All raise StoreUnavailable."""

    def __init__(self, rows: TenantRows, secrets: Secrets, maker: KeyMaker) -> None:
        """secrets: of the installation; maker: of new tenants' keys."""
        self._rows, self._names, self._maker = rows, secrets.envelope("tenant names"), maker

    def ping(self) -> None:
        """Raises StoreUnavailable unless the database answers; costs the same however many there are."""
        self._rows.ping()

    def tenants(self) -> list[Tenant]:
        """In the order in which they were made, the default one among them."""
        return [self._opened(stored) for stored in self._rows.all()]

    def ids(self) -> list[str]:
        return [stored.id for stored in self._rows.all()]

    def find(self, called: str) -> Tenant:
        """By id or name. Raises TenantNotFound."""
        there = self.tenants()
        for tenant in (*(t for t in there if t.id == called), *(t for t in there if t.name == called)):
            return tenant
        raise TenantNotFound(f"no tenant {called!r}")

    def create(self, name: str) -> Tenant:
        """Raises TenantExists, RequestError for a bad name, MasterKeyUnavailable."""
        require_name(name)
        with self._rows.alone("tenants"):
            if any(name in (tenant.name, tenant.id) for tenant in self.tenants()):
                raise TenantExists(f"tenant {name!r} exists already")
            new = Tenant(f"t-{secrets.token_hex(8)}", name, datetime.now(UTC))
            sealed = self._names.seal(name.encode(), new.id)
            self._rows.add(StoredTenant(new.id, sealed, new.created_at), self._maker)
        return new

    def require_deletable(self, tenant: Tenant) -> None:
        """Raises RequestError for the default tenant."""
        if tenant.id == DEFAULT_TENANT:
            raise RequestError("the default tenant can't be deleted: delete its galleries")

    def delete(self, tenant: Tenant) -> None:
        """Deletes every row of it. Raises TenantNotFound, RequestError for the default tenant."""
        self.require_deletable(tenant)
        self._rows.delete(tenant.id)

    def _opened(self, stored: StoredTenant) -> Tenant:
        name = stored.id if stored.sealed is None else self._names.open(stored.sealed, stored.id).decode()
        return Tenant(stored.id, name, stored.created_at)
