"""A tenant's keys as they are stored: wrapped by the master key, which is elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

INSTALLATION = "/"
"""In place of a tenant: the keys of the installation as a whole. No tenant can be called so."""
FIRST = 1
"""Version of a tenant's first data key."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The root secret, None where there is none yet, and the data keys by version."""

    root: bytes | None = None
    data_keys: Mapping[int, bytes] = field(default_factory=dict)


class KeyRows(Protocol):
    """Where one tenant's wrapped keys lie."""

    def read(self) -> Wrapped: ...

    def add(self, root: bytes, data_key: bytes) -> None:
        """Keeps these as the tenant's root secret and first data key, unless it has some: of two processes that are at
        it, one's count for both. Nothing is kept of a tenant that is not there."""
        ...

    def holds_plain(self) -> bool:
        """Whether anything of the tenant is stored in the clear."""
        ...
