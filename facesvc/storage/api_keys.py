"""Rows of API keys, of all tenants: a request's tenant is known only once its key is found."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from facesvc.core.access import StoredKey
from facesvc.errors import ApiKeyNotFound
from facesvc.storage.locks import Locks
from facesvc.storage.tables import ApiKeyRow


class SqlApiKeys:
    """core.access.ApiKeyStore on SQLite or PostgreSQL. Nothing is kept in memory: a key that is revoked is so for
    the next request to any process."""

    def __init__(self, locks: Locks) -> None:
        """locks: of all tenants."""
        self._rows = locks

    def find(self, key: str) -> StoredKey | None:
        with self._rows.reading() as session:
            row = session.get(ApiKeyRow, key)
            return row and _as_stored(row)

    def add(self, new: StoredKey) -> None:
        with self._rows.writing() as session:
            session.add(ApiKeyRow(**asdict(new)))

    def add_first(self, new: StoredKey) -> bool:
        with self._rows.alone("first API key"), self._rows.writing() as session:
            if session.scalar(select(func.count()).select_from(ApiKeyRow)):
                return False
            session.add(ApiKeyRow(**asdict(new)))
            return True

    def of_tenant(self, tenant: str) -> Sequence[StoredKey]:
        query = select(ApiKeyRow).where(ApiKeyRow.tenant == tenant).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
        with self._rows.reading() as session:
            return [_as_stored(row) for row in session.scalars(query)]

    def change(
        self, tenant: str, key: str, renew: Callable[[StoredKey], bytes], added: StoredKey | None = None
    ) -> StoredKey:
        with self._rows.writing() as session:
            row = _locked(session, tenant, key)
            row.sealed = renew(_as_stored(row))
            if added is not None:
                session.add(ApiKeyRow(**asdict(added)))
            return _as_stored(row)


def _locked(session: Session, tenant: str, key: str) -> ApiKeyRow:
    """Raises ApiKeyNotFound, for another tenant's as for one that is not there."""
    row = session.get(ApiKeyRow, key, with_for_update=True)
    if row is None or row.tenant != tenant:
        raise ApiKeyNotFound(f"no API key {key!r}")
    return row


def _as_stored(row: ApiKeyRow) -> StoredKey:
    return StoredKey(**{column: getattr(row, column) for column in StoredKey.__dataclass_fields__})
