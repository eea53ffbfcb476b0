"""Tenants: whose galleries, subjects, API keys and audit lines are whose."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from facesvc.core.keys import KeyMaker


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


class TenantRows(Protocol):
    """All raise StoreUnavailable."""

    def ping(self) -> None:
        """One row at most is read."""
        ...

    def all(self) -> Sequence[StoredTenant]:
        """In the order in which they were made; the default tenant is there from the start."""
        ...

    def add(self, new: StoredTenant, maker: KeyMaker) -> None:
        """With keys of its own. Raises MasterKeyUnavailable where the maker's master key was replaced."""
        ...

    def delete(self, tenant: str) -> None:
        """Deletes every row of it. Raises TenantNotFound."""
        ...

    def alone(self, name: str, patience: float | None = None) -> AbstractContextManager[None]:
        """As core.ports.ReferenceStore.alone."""
        ...
