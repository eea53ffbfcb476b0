"""Servers that ask for API keys, and clients that bring some."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from facesvc.bootstrap.database import open_database
from facesvc.config import Settings
from facesvc.core.access import DEFAULT_TENANT, IssuedKey, Rights, Role
from tests.support.live import serve, served_settings


@dataclass(frozen=True)
class Keyed:
    """A running server without development mode."""

    url: str
    settings: Settings

    def issue(self, *roles: Role, tenant: str = DEFAULT_TENANT, galleries: frozenset[str] | None = None) -> IssuedKey:
        """A new key, made beside the server, as `facesvc api-keys create` does."""
        with open_database(self.settings) as database:
            return database.api_keys.issue(tenant, Rights(frozenset(roles), galleries))

    def tenant(self, name: str) -> str:
        """The id of a new tenant."""
        with open_database(self.settings) as database:
            return database.register.create(name).id

    @contextmanager
    def client(self, key: IssuedKey | str | None) -> Iterator[httpx.Client]:
        """One that brings a key, or none."""
        text = key.text if isinstance(key, IssuedKey) else key
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        with httpx.Client(base_url=self.url, timeout=60, headers=headers) as client:
            yield client


@contextmanager
def serve_keyed(data: Path, packs: Path, **changes: Any) -> Iterator[Keyed]:
    settings = served_settings(data, packs, dev=False, **changes)
    with serve(settings) as live:
        yield Keyed(live.url, settings)
