"""Answers kept for enrolments with an idempotency key."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = "idempotent_answers"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("tenant", name(), nullable=False),
        sa.Column("key", name(), nullable=False),
        sa.Column("request", name(), nullable=False),
        sa.Column("gallery_key", key(), nullable=True),
        sa.Column("subject_key", key(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=f"pk_{TABLE}"),
        owned_by("gallery_key", "galleries"),
        owned_by("subject_key", "subjects"),
    )
    op.create_index(f"ix_{TABLE}_tenant_expires_at", TABLE, ["tenant", "expires_at"])
    for column in ("gallery_key", "subject_key"):
        op.create_index(f"ix_{TABLE}_{column}", TABLE, [column])


def downgrade() -> None:
    op.drop_table(TABLE)


def name() -> sa.types.TypeEngine[str]:
    return sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")


def key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def owned_by(column: str, owner: str) -> sa.ForeignKeyConstraint:
    """Rows go with the row that owns them."""
    return sa.ForeignKeyConstraint([column], [f"{owner}.key"], ondelete="CASCADE", name=f"fk_{TABLE}_{column}_{owner}")
