"""A tenant's keys as they are stored: wrapped by the master key, which is elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

INSTALLATION = "/"
"""In place of a tenant: the keys of the installation as a whole. No tenant can be called so."""
FIRST = 1
"""Version of a tenant's first data key."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The root secret, None where there is none, and the data keys by version."""

    root: bytes | None = None
    data_keys: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What a tenant begins with. root, data_key: wrapped; audit_head: the end of its empty audit log, signed."""

    root: bytes
    data_key: bytes
    audit_head: bytes


class KeyMaker(Protocol):
    """Knows the master key."""

    def made(self, tenant: str) -> NewKeys:
        """New keys, wrapped."""
        ...

    def require(self, installation: Wrapped) -> None:
        """Raises MasterKeyUnavailable where another master key wrapped the installation's keys, and so all others."""
        ...


class KeyRows(Protocol):
    """Where one tenant's wrapped keys lie."""

    def read(self) -> Wrapped: ...

    def found(self, maker: KeyMaker) -> None:
        """Makes the first keys of all, unless there are some: the installation's, and those of the tenants that are
        there. Of two processes that are at it, one's count for both. Raises SealBroken where something is sealed
        already: its keys were taken away."""
        ...

    def change(self, maker: KeyMaker, renew: Callable[[Wrapped], Wrapped]) -> None:
        """Puts what ``renew`` makes of the tenant's keys in their place, while nobody else writes any. Raises
        MasterKeyUnavailable where the master key was replaced meanwhile."""
        ...
