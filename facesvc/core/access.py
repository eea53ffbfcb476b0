"""Who asks, and what they may.

API keys: who may ask a server, and for what.

Tenants: whose galleries, subjects, API keys and audit lines are whose.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from facesvc.errors import RequestError

DEFAULT_TENANT = "default"


class Role(StrEnum):
    """What an API key is for. Each allows its own operations alone, but for ``administer``, which allows all."""

    VERIFY = "verify"
    """1:1: verify, and detect."""
    IDENTIFY = "identify"
    """1:N: identify."""
    ENROL = "enrol"
    """Subjects and their references: list, read, enrol, change, erase."""
    ADMINISTER = "administer"
    """Galleries, API keys, audit log, and everything else."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated request's origin. key: public id of its API key, or what it is in place of one ("local",
    "development"); galleries: names of those it may use, None for all of its tenant; requests_per_minute,
    identities_per_day: its own limits, None for the service's."""

    tenant: str = DEFAULT_TENANT
    key: str = "local"
    roles: frozenset[Role] = frozenset({Role.ADMINISTER})
    galleries: frozenset[str] | None = None
    requests_per_minute: int | None = None
    identities_per_day: int | None = None

    def may(self, roles: Iterable[Role]) -> bool:
        """Whether it has one of these roles."""
        return Role.ADMINISTER in self.roles or not self.roles.isdisjoint(roles)


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


@dataclass(frozen=True, slots=True)
class Tenant:
    """id: what rows, logs and folders say, which tells nothing; name: what people call it."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredTenant:
    """sealed: its name; None for the default tenant, which everybody has."""

    id: str
    sealed: bytes | None
    created_at: datetime
