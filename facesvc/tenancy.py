"""The services of all tenants in one process: they share the loaded packs and the database's connections, and nothing
else."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock

from facesvc.apikeys import ApiKeys
from facesvc.audited import AuditedService
from facesvc.core.access import Caller
from facesvc.core.canary import Alarms
from facesvc.core.ports import Extractors
from facesvc.core.types import LoadedIndex
from facesvc.errors import FaceServiceError, TenantNotFound
from facesvc.index.galleries import Projection
from facesvc.register import Register


@dataclass(frozen=True, slots=True)
class Opened:
    """A tenant's service, and the indexes behind it."""

    service: AuditedService
    projection: Projection


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

    def of(self, tenant: str) -> AuditedService:
        """The service of a tenant, by its id. Raises TenantNotFound, StoreUnavailable."""
        return self._opened(tenant).service

    def loaded(self) -> Iterator[LoadedIndex]:
        """The indexes in this process's memory, of all tenants."""
        for opened in self._all_opened():
            yield from opened.service.indexes.loaded()

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
                service = opened.service.by(Caller(tenant, RETENTION))
                with noting(failures):
                    service.purge_expired()
                with noting(failures):
                    service.store.forget_lapsed()
                opened.projection.follow(ended)
        for tenant in self._gone(there):  # their last look has deleted what was kept of them
            self._close(tenant)
        if failures:
            raise failures[0]

    def settle(self) -> None:
        """As ``Projection.settle``, of the tenants that were opened here."""
        for opened in self._all_opened():
            opened.projection.settle()

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
