"""The wrapped keys of tenants, in the database.

Roots are made with their tenants, so that one that is missing was taken away. Writers of wrapped keys first lock the
installation's row, and unwrap its root: while the master key is replaced nothing is wrapped with the old one, nor
afterwards. Locks are taken in this order: the installation's row, the tenants' rows by their ids.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Engine, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from facesvc.core.access import DEFAULT_TENANT, StoredTenant
from facesvc.core.audit import Head
from facesvc.crypto.keyring import FIRST, INSTALLATION, Maker, NewKeys, Wrapped
from facesvc.errors import SealBroken
from facesvc.storage.tables import (
    ApiKeyRow,
    AuditRow,
    DataKeyRow,
    GalleryRow,
    ReferenceRow,
    SubjectRow,
    TenantRow,
)
from facesvc.storage.transactions import EVERY_TENANT, Transactions


class SqlKeyRows(Transactions):
    """crypto.keyring.KeyRows. Raises StoreUnavailable."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        super().__init__(engine, tenant)
        self._every = Transactions(engine, EVERY_TENANT)

    def read(self) -> Wrapped:
        with self.reading() as session:
            return read_keys(session, self.tenant)

    def found(self, maker: Maker) -> None:
        with self._every.writing() as session:
            if not _put_installation(session, maker):
                return
            if anything_sealed(session):
                raise SealBroken("something is sealed, and the installation's root secret was taken away")
            new = StoredTenant(DEFAULT_TENANT, None, datetime.now(UTC))
            put_tenant(session, new, maker.made(DEFAULT_TENANT))

    def change(self, maker: Maker, renew: Callable[[Wrapped], Wrapped]) -> None:
        with self._every.writing() as session:
            hold_keys(session, maker)
            _renew(session, self.tenant, renew)


def read_keys(session: Session, tenant: str) -> Wrapped:
    root = session.scalar(select(TenantRow.secrets).where(TenantRow.tenant == tenant))
    query = select(DataKeyRow.version, DataKeyRow.wrapped).where(DataKeyRow.tenant == tenant)
    return Wrapped(root, dict(iter(session.execute(query))))


def hold_keys(session: Session, maker: Maker) -> None:
    """Nobody else writes wrapped keys until the transaction, of every tenant, ends. Raises MasterKeyUnavailable where
    those that there are were wrapped by another master key than the maker's."""
    maker.require(_locked_keys(session, INSTALLATION))


def put_tenant(session: Session, new: StoredTenant, keys: NewKeys) -> None:
    """A new tenant, with its first keys, and the head of its empty audit log."""
    session.add(TenantRow(**_columns(new, keys)))
    session.add(_data_key(new.id, FIRST, keys.data_key))


def rewrap_all(rows: Transactions, rewrap: Callable[[str, Wrapped], Wrapped]) -> int:
    """Puts what ``rewrap`` makes of each tenant's keys in their place, all in one transaction; how many tenants there
    are, ``crypto.keyring.INSTALLATION`` among them. rows: of every tenant."""
    with rows.writing() as session:
        _renew(session, INSTALLATION, partial(rewrap, INSTALLATION))
        others = session.scalars(select(TenantRow.tenant).where(TenantRow.tenant != INSTALLATION)).all()
        for tenant in sorted(others):
            _renew(session, tenant, partial(rewrap, tenant))
    return 1 + len(others)


def anything_sealed(session: Session) -> bool:
    """Return whether there is any row that a tenant's keys sealed or signed, or a tenant besides the installation."""
    tables = (DataKeyRow, ApiKeyRow, AuditRow, GalleryRow, SubjectRow, ReferenceRow)
    tenants = exists().where(TenantRow.tenant != INSTALLATION)
    return bool(session.scalar(select(or_(tenants, *(exists(select(table.tenant)) for table in tables)))))


def latest_data_key(session: Session, tenant: str) -> int:
    """Version of the data key to seal with, which stays there until the transaction ends: who deletes an old one waits
    for those who may have sealed with it, and looks again. SQLite's writers wait for one another anyway."""
    query = select(DataKeyRow.version).where(DataKeyRow.tenant == tenant).order_by(DataKeyRow.version.desc()).limit(1)
    locked = query.with_for_update(read=True, key_share=True)
    found = session.scalar(locked)
    # None: the one that was the newest as this began was replaced and deleted while it was waited for
    return found if found is not None else session.execute(locked).scalar_one()


def _locked_keys(session: Session, tenant: str) -> Wrapped:
    """A tenant's keys; nobody else writes them until the transaction ends. SQLite's writers wait for one another
    anyway."""
    session.execute(select(TenantRow.tenant).where(TenantRow.tenant == tenant).with_for_update())
    return read_keys(session, tenant)


def _renew(session: Session, tenant: str, renew: Callable[[Wrapped], Wrapped]) -> None:
    """Data keys that ``renew`` adds are added; one that was deleted meanwhile, as the tenant itself, stays so."""
    old = _locked_keys(session, tenant)
    new = renew(old)
    session.execute(update(TenantRow).where(TenantRow.tenant == tenant).values(secrets=new.root))
    for version, key in new.data_keys.items():
        if version in old.data_keys:
            mine = (DataKeyRow.tenant == tenant, DataKeyRow.version == version)
            session.execute(update(DataKeyRow).where(*mine).values(wrapped=key))
        else:
            session.add(_data_key(tenant, version, key))


def _put_installation(session: Session, maker: Maker) -> bool:
    """Whether it had no keys yet. Who is second waits for the first one's commit."""
    new, keys = StoredTenant(INSTALLATION, None, datetime.now(UTC)), maker.made(INSTALLATION)
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(TenantRow).values(_columns(new, keys)).on_conflict_do_nothing()
    return session.execute(statement.returning(TenantRow.tenant)).first() is not None


def _columns(new: StoredTenant, keys: NewKeys) -> dict[str, Any]:
    """Of TenantRow."""
    columns = {"tenant": new.id, "sealed": new.sealed, "created_at": new.created_at, "secrets": keys.root}
    head = Head()
    return columns | {"audit_sequence": head.sequence, "audit_digest": head.digest, "audit_head": keys.audit_head}


def _data_key(tenant: str, version: int, wrapped: bytes) -> DataKeyRow:
    return DataKeyRow(tenant=tenant, version=version, wrapped=wrapped, created_at=datetime.now(UTC))
