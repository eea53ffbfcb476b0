"""Who asks, and what they may."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

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
