"""The rows of tenants, and the deletion of all that is theirs."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from facesvc.core.access import DEFAULT_TENANT, StoredTenant
from facesvc.core.keys import INSTALLATION, KeyMaker
from facesvc.errors import TenantNotFound
from facesvc.storage.engine import wipe_log
from facesvc.storage.keys import hold_keys, put_tenant
from facesvc.storage.locks import Locks
from facesvc.storage.tables import Table, TenantRow


class SqlTenants(Locks):
    """core.access.TenantRows, over the rows of every tenant."""

    def ping(self) -> None:
        with self.reading() as session:
            session.execute(select(TenantRow.tenant).limit(1))

    def all(self) -> Sequence[StoredTenant]:
        query = select(TenantRow).where(TenantRow.tenant != INSTALLATION)
        with self.reading() as session:
            rows = session.scalars(query.order_by(TenantRow.created_at, TenantRow.tenant))
            found = [StoredTenant(row.tenant, row.sealed, row.created_at) for row in rows]
        if all(tenant.id != DEFAULT_TENANT for tenant in found):
            found.insert(0, StoredTenant(DEFAULT_TENANT, None, datetime.fromtimestamp(0, UTC)))
        return found

    def add(self, new: StoredTenant, maker: KeyMaker) -> None:
        with self.writing() as session:
            hold_keys(session, maker)
            put_tenant(session, new, maker.made(new.id))

    def delete(self, tenant: str) -> None:
        with self.writing() as session:
            if tenant == INSTALLATION or not _delete(session, TenantRow, tenant):
                raise TenantNotFound(f"no tenant {tenant!r}")
            for table in reversed(Table.metadata.sorted_tables):
                session.execute(delete(table).where(table.c.tenant == tenant))
        wipe_log(self.engine)


def _delete(session: Session, table: type[Table], tenant: str) -> bool:
    """Whether there was a row."""
    return session.execute(delete(table).where(table.tenant == tenant).returning(table.tenant)).first() is not None
