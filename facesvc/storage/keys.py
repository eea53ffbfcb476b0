"""The wrapped keys of one tenant, in the database."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from facesvc.core.access import DEFAULT_TENANT
from facesvc.core.keys import FIRST, INSTALLATION, Wrapped
from facesvc.storage.tables import DataKeyRow, GalleryRow, Table, TenantRow
from facesvc.storage.transactions import Transactions


class SqlKeyRows(Transactions):
    """core.keys.KeyRows. Raises StoreUnavailable."""

    def read(self) -> Wrapped:
        with self.reading() as session:
            return read_keys(session, self.tenant)

    def add(self, root: bytes, data_key: bytes) -> None:
        now = datetime.now(UTC)
        with self.writing() as session:
            if self.tenant in (INSTALLATION, DEFAULT_TENANT):  # others have a row; one that was deleted gets none
                _insert_new(session, TenantRow, {"tenant": self.tenant, "audit_sequence": 0, "created_at": now})
            mine = (TenantRow.tenant == self.tenant, TenantRow.secrets.is_(None))
            done = session.execute(
                update(TenantRow).where(*mine).values(secrets=root).returning(TenantRow.tenant)
            ).all()
            if done:  # the row's lock keeps others from it until this is committed
                row = {"tenant": self.tenant, "version": FIRST, "wrapped": data_key, "created_at": now}
                _insert_new(session, DataKeyRow, row)

    def add_data_key(self, version: int, wrapped: bytes) -> None:
        """All processes seal with it from now on."""
        row = DataKeyRow(tenant=self.tenant, version=version, wrapped=wrapped, created_at=datetime.now(UTC))
        with self.writing() as session:
            session.add(row)

    def put_root(self, root: bytes) -> None:
        """In place of the one that is there."""
        with self.writing() as session:
            session.execute(update(TenantRow).where(TenantRow.tenant == self.tenant).values(secrets=root))

    def holds_plain(self) -> bool:
        plain = exists().where(GalleryRow.tenant == self.tenant, GalleryRow.sealed.is_(None))
        with self.reading() as session:
            return bool(session.scalar(select(plain)))


def read_keys(session: Session, tenant: str) -> Wrapped:
    root = session.scalar(select(TenantRow.secrets).where(TenantRow.tenant == tenant))
    query = select(DataKeyRow.version, DataKeyRow.wrapped).where(DataKeyRow.tenant == tenant)
    return Wrapped(root, dict(iter(session.execute(query))))


def rewrap_all(rows: Transactions, rewrap: Callable[[str, Wrapped], Wrapped]) -> int:
    """Puts what ``rewrap`` makes of each tenant's keys in their place, all in one transaction; how many tenants have
    some, ``core.keys.INSTALLATION`` among them. rows: of every tenant."""
    with rows.writing() as session:
        query = select(TenantRow.tenant).where(TenantRow.secrets.is_not(None)).order_by(TenantRow.tenant)
        tenants = session.scalars(query.with_for_update()).all()
        for tenant in tenants:
            _put_keys(session, tenant, rewrap(tenant, read_keys(session, tenant)))
    return len(tenants)


def _put_keys(session: Session, tenant: str, wrapped: Wrapped) -> None:
    session.execute(update(TenantRow).where(TenantRow.tenant == tenant).values(secrets=wrapped.root))
    for version, key in wrapped.data_keys.items():
        mine = (DataKeyRow.tenant == tenant, DataKeyRow.version == version)
        session.execute(update(DataKeyRow).where(*mine).values(wrapped=key))


def latest_data_key(session: Session, tenant: str) -> int:
    """Version of the data key to seal with, which stays there until the transaction ends: who deletes an old one waits
    for those who may have sealed with it, and looks again. SQLite's writers wait for one another anyway."""
    query = select(DataKeyRow.version).where(DataKeyRow.tenant == tenant).order_by(DataKeyRow.version.desc()).limit(1)
    locked = query.with_for_update(read=True, key_share=True)
    found = session.scalar(locked)
    # None: the one that was the newest as this began was replaced and deleted while it was waited for
    return found if found is not None else session.execute(locked).scalar_one()


def _insert_new(session: Session, table: type[Table], row: dict[str, Any]) -> None:
    """Leaves a row as it is that is there already."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement: Executable = insert(table).values(row).on_conflict_do_nothing()
    session.execute(statement)
