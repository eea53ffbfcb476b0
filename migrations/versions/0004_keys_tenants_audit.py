"""Tenants with keys of their own, API keys, sealed columns, expiry and erasure of subjects, and the audit log.

What is there stays in the clear until `facesvc keys seal` has gone over it. The way back is open only to a database of
which nothing is sealed: the older schema has no place for the keys.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def name() -> sa.types.TypeEngine[str]:
    return sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")


ADDED = {
    "galleries": ("sealed", "data_key", "issue"),
    "subjects": ("sealed", "sealed_key", "data_key", "consent", "canary", "expires_at"),
    "face_references": ("sealed",),
}
KINDS = {
    "sealed": sa.LargeBinary(),
    "sealed_key": sa.LargeBinary(),
    "data_key": sa.BigInteger(),
    "issue": sa.BigInteger(),
    "consent": name(),
    "canary": sa.Boolean(),
    "expires_at": sa.DateTime(timezone=True),
}
DEFAULTS = {"issue": sa.text("0"), "canary": sa.false()}


def upgrade() -> None:
    create_tenants()
    create_api_keys()
    create_audit()
    create_erasures()
    for table, columns in ADDED.items():
        for column in columns:
            default = DEFAULTS.get(column)
            op.add_column(table, sa.Column(column, KINDS[column], nullable=default is None, server_default=default))
    for column in ("data_key", "expires_at"):
        op.create_index(f"ix_subjects_tenant_{column}", "subjects", ["tenant", column])


def downgrade() -> None:
    require_unsealed()
    for column in ("data_key", "expires_at"):
        op.drop_index(f"ix_subjects_tenant_{column}", "subjects")
    for table, columns in ADDED.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for table in ("erasures", "audit", "revealed_identities", "api_keys", "data_keys", "tenants"):
        op.drop_table(table)


def require_unsealed() -> None:
    for table, column in (("galleries", "sealed"), ("subjects", "sealed_key")):
        query = f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608  constants
        if op.get_bind().execute(sa.text(query)).scalar():
            raise RuntimeError("this database is encrypted: the older schema can't hold its keys; export the galleries")


def key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def column(named: str, kind: sa.types.TypeEngine[object], nullable: bool = False) -> sa.Column[object]:
    return sa.Column(named, kind, nullable=nullable)


def create_tenants() -> None:
    op.create_table(
        "tenants",
        column("tenant", name()),
        column("sealed", sa.LargeBinary(), nullable=True),
        column("secrets", sa.LargeBinary()),
        column("audit_sequence", sa.BigInteger()),
        column("audit_digest", sa.LargeBinary()),
        column("audit_head", sa.LargeBinary()),
        column("created_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("tenant", name="pk_tenants"),
    )
    op.create_table(
        "data_keys",
        column("tenant", name()),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        column("wrapped", sa.LargeBinary()),
        column("created_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("tenant", "version", name="pk_data_keys"),
    )


def create_api_keys() -> None:
    op.create_table(
        "api_keys",
        column("tenant", name()),
        column("id", name()),
        column("digest", sa.LargeBinary()),
        column("sealed", sa.LargeBinary()),
        column("created_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_tenant_created_at", "api_keys", ["tenant", "created_at"])
    op.create_table(
        "revealed_identities",
        column("tenant", name()),
        column("api_key", name()),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject_key", key(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("api_key", "day", "subject_key", name="pk_revealed_identities"),
        sa.ForeignKeyConstraint(
            ["subject_key"], ["subjects.key"], ondelete="CASCADE", name="fk_revealed_identities_subject_key_subjects"
        ),
    )
    op.create_index("ix_revealed_identities_subject_key", "revealed_identities", ["subject_key"])


def create_audit() -> None:
    op.create_table(
        "audit",
        column("tenant", name()),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        column("entry", sa.LargeBinary()),
        column("digest", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("tenant", "sequence", name="pk_audit"),
    )


def create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("key", key(), sa.Identity(), nullable=False),
        column("tenant", name()),
        column("gallery_key", key()),
        column("subject", name()),
        column("deleted", sa.JSON()),
        column("statement", sa.JSON(), nullable=True),
        column("expires_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("key", name="pk_erasures"),
        sa.UniqueConstraint("gallery_key", "subject", name="uq_erasures_gallery_key_subject"),
        sa.ForeignKeyConstraint(
            ["gallery_key"], ["galleries.key"], ondelete="CASCADE", name="fk_erasures_gallery_key_galleries"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_erasures_tenant_expires_at", "erasures", ["tenant", "expires_at"])
