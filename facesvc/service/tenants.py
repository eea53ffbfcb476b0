"""Tenants: made, found by name, deleted; and their running services in one process.

The services of all tenants in one process: they share the loaded packs and the database's connections, and nothing
else.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from facesvc.core.access import DEFAULT_TENANT, Caller, StoredTenant, Tenant
from facesvc.core.names import require_name
from facesvc.core.ports import Extractors
from facesvc.core.types import LoadedIndex
from facesvc.crypto.keyring import Maker, TenantKeys
from facesvc.errors import FaceServiceError, RequestError, TenantExists, TenantNotFound
from facesvc.index.galleries import GalleryIndexes
from facesvc.service import FaceService
from facesvc.service.api_keys import ApiKeys
from facesvc.service.audit import Trail
from facesvc.service.disclosure import Alarms
from facesvc.storage.access import SqlTenants


class Register:
    """All tenants. Each change writes its lines in the default tenant's audit log. All raise StoreUnavailable."""

    def __init__(self, rows: SqlTenants, secrets: TenantKeys, maker: Maker, audit: Trail) -> None:
        """secrets: of the installation; maker: of new tenants' keys; audit: of the default tenant."""
        self._rows, self._names, self._maker = rows, secrets.envelope("tenant names"), maker
        self._audit = audit

    def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers; costs the same however many there are."""
        self._rows.ping()

    def tenants(self) -> list[Tenant]:
        """Return all in the order in which they were made, the default one among them."""
        return [self._opened(stored) for stored in self._rows.all()]

    def ids(self) -> list[str]:
        """Return the ids of all, in the order in which they were made."""
        return [stored.id for stored in self._rows.all()]

    def find(self, called: str) -> Tenant:
        """Return the tenant of this id or name. Raises TenantNotFound."""
        there = self.tenants()
        for tenant in (*(t for t in there if t.id == called), *(t for t in there if t.name == called)):
            return tenant
        raise TenantNotFound(f"no tenant {called!r}")

    def create(self, name: str) -> Tenant:
        """Create a tenant. Raises TenantExists, RequestError for a bad name, MasterKeyUnavailable."""
        with self._audit.change("create_tenant") as outcome:
            require_name(name)
            with self._rows.alone("tenants"):
                if any(name in (tenant.name, tenant.id) for tenant in self.tenants()):
                    raise TenantExists(f"tenant {name!r} exists already")
                new = Tenant(f"t-{secrets.token_hex(8)}", name, datetime.now(UTC))
                sealed = self._names.seal(name.encode(), new.id)
                self._rows.add(StoredTenant(new.id, sealed, new.created_at), self._maker)
            outcome.told = {"tenant": new.id}
        return new

    def delete(self, tenant: Tenant, drop_indexes: Callable[[], object] = lambda: None) -> None:
        """Delete every row of a tenant, and its indexes before and after: a server may have made them anew in between.
        Raises TenantNotFound, RequestError for the default tenant, and what ``drop_indexes`` raises."""
        with self._audit.change("delete_tenant") as outcome:
            outcome.told = {"tenant": tenant.id}
            if tenant.id == DEFAULT_TENANT:
                raise RequestError("the default tenant can't be deleted: delete its galleries")
            drop_indexes()
            self._rows.delete(tenant.id)
            drop_indexes()

    def _opened(self, stored: StoredTenant) -> Tenant:
        name = stored.id if stored.sealed is None else self._names.open(stored.sealed, stored.id).decode()
        return Tenant(stored.id, name, stored.created_at)


@dataclass(frozen=True, slots=True)
class Opened:
    """A tenant's service, and the indexes behind it."""

    service: FaceService
    indexes: GalleryIndexes


RETENTION = "retention"
"""In place of an API key in the audit log, where a subject is erased because it has expired."""
OpenTenant = Callable[[str], AbstractContextManager[Opened]]


@dataclass(slots=True)
class _Place:
    """turn: of the thread that opens the tenant."""

    turn: Lock = field(default_factory=Lock)
    opened: Opened | None = None
    closing: ExitStack = field(default_factory=ExitStack)


class Tenants:
    """Thread-safe. register, api_keys: of all tenants; extractors, alarms: shared by them."""

    def __init__(
        self, register: Register, api_keys: ApiKeys, extractors: Extractors, alarms: Alarms, open_tenant: OpenTenant
    ) -> None:
        self.register, self.api_keys, self.extractors, self.alarms = register, api_keys, extractors, alarms
        self._open_tenant = open_tenant
        self._places: dict[str, _Place] = {}
        self._lock = Lock()

    def of(self, tenant: str) -> FaceService:
        """Return the service of a tenant, by its id. Raises TenantNotFound, StoreUnavailable."""
        return self._opened(tenant).service

    def loaded(self) -> Iterator[LoadedIndex]:
        """The indexes in this process's memory, of all tenants."""
        for opened in self._all_opened():
            yield from opened.indexes.loaded()

    def ready(self) -> None:
        """Raises StoreUnavailable unless the database answers."""
        self.register.ping()

    def follow(self, ended: Callable[[], bool]) -> None:
        """Erases subjects that have expired, forgets what was kept for a while, has the indexes of every tenant that
        there is follow the database, and closes the services of those that are there no longer. One's failure stops no
        other's, nor what else is to be done for its tenant. Raises the first."""
        failures: list[FaceServiceError | OSError] = []
        there = self.register.ids()
        for tenant in (*there, *self._gone(there)):
            if ended():
                return
            with noting(failures):
                opened = self._opened(tenant, known=True)
                expiry = opened.service.by(Caller(tenant, RETENTION)).expiry
                with noting(failures):
                    expiry.purge()
                with noting(failures):
                    expiry.forget_lapsed()
                opened.indexes.follow(ended)
        for tenant in self._gone(there):  # their last look has deleted what was kept of them
            self._close(tenant)
        if failures:
            raise failures[0]

    def settle(self) -> None:
        """As ``GalleryIndexes.settle``, of the tenants that were opened here."""
        for opened in self._all_opened():
            opened.indexes.settle()

    def close(self) -> None:
        with self._lock:
            tenants = list(self._places)
        for tenant in tenants:
            self._close(tenant)

    def _opened(self, tenant: str, known: bool = False) -> Opened:
        """known: it is there, or was."""
        with self._lock:
            place = self._places.get(tenant)
        if place is not None and place.opened is not None:
            return place.opened
        if not known and tenant not in self.register.ids():
            raise TenantNotFound(f"no tenant {tenant!r}")
        with self._lock:
            place = self._places.setdefault(tenant, _Place())
        with place.turn:
            if place.opened is None:
                place.opened = place.closing.enter_context(self._open_tenant(tenant))
            return place.opened

    def _all_opened(self) -> list[Opened]:
        with self._lock:
            return [place.opened for place in self._places.values() if place.opened is not None]

    def _gone(self, there: Iterable[str]) -> list[str]:
        with self._lock:
            gone = {tenant: place for tenant, place in self._places.items() if tenant not in there}
            return [tenant for tenant, place in gone.items() if place.opened is not None]

    def _close(self, tenant: str) -> None:
        with self._lock:
            place = self._places.pop(tenant, None)
        if place is not None:
            with place.turn:
                place.closing.close()


@contextmanager
def noting(failures: list[FaceServiceError | OSError]) -> Iterator[None]:
    """Adds what fails within to those before, and goes on."""
    try:
        yield
    except (FaceServiceError, OSError) as error:
        failures.append(error)
