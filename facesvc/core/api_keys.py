"""API keys: who may ask a server, and for what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from facesvc.core.access import Caller, Role
from facesvc.errors import RequestError

LABEL_LENGTH = 128
MAX_GALLERIES = 500


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key allows. galleries: names of those it may use, None for all of its tenant; identities_per_day,
    requests_per_minute: its own limits, None for the service's."""

    roles: frozenset[Role]
    galleries: frozenset[str] | None = None
    label: str = ""
    identities_per_day: int | None = None
    requests_per_minute: int | None = None

    def __post_init__(self) -> None:
        """Raises RequestError for rights that make no sense together."""
        if not self.roles:
            raise RequestError("an API key needs a role")
        if self.galleries is not None and not 0 < len(self.galleries) <= MAX_GALLERIES:
            raise RequestError(f"an API key may be for 1 to {MAX_GALLERIES} galleries, or for all")
        if self.galleries is not None and Role.ADMINISTER in self.roles:
            raise RequestError("an administrator's key can't be for some galleries only: it could make one for all")
        if len(self.label) > LABEL_LENGTH or not self.label.isprintable():
            raise RequestError(f"a label takes at most {LABEL_LENGTH} printable characters")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is told of: all but its secret. replaced_by: id of the key that takes its place, while both are
    valid."""

    id: str
    tenant: str
    rights: Rights
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def caller(self) -> Caller:
        """Whoever comes with it."""
        rights = self.rights
        return Caller(
            self.tenant,
            self.id,
            rights.roles,
            rights.galleries,
            requests_per_minute=rights.requests_per_minute,
            identities_per_day=rights.identities_per_day,
        )


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key at the one moment at which its text is known."""

    key: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is stored. digest: of its secret, as this key of this tenant; sealed: all else that is known of it.
    created_at: for the order of lists."""

    id: str
    tenant: str
    digest: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    created_at: datetime


class ApiKeyStore(Protocol):
    """Rows of API keys. All raise StoreUnavailable."""

    def find(self, key: str) -> StoredKey | None:
        """By its id, of whatever tenant."""
        ...

    def add(self, new: StoredKey) -> None: ...

    def add_first(self, new: StoredKey) -> bool:
        """Adds it if no tenant has a key; whether it did. Of several processes that ask at once, one does."""
        ...

    def of_tenant(self, tenant: str) -> Sequence[StoredKey]:
        """Oldest first."""
        ...

    def change(
        self, tenant: str, key: str, renew: Callable[[StoredKey], bytes], added: StoredKey | None = None
    ) -> StoredKey:
        """Seals the key as ``renew`` does, given it as it is, while nobody else changes it, and adds another with it;
        all or, where ``renew`` raises, nothing. The key as it is then. Raises ApiKeyNotFound."""
        ...
