"""Galleries, subjects, references, photographs and the revision log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_galleries()
    create_subjects()
    create_references()
    create_photographs()
    create_revisions()


def downgrade() -> None:
    for table in ("revisions", "photographs", "face_references", "subjects", "galleries"):
        op.drop_table(table)


def name() -> sa.types.TypeEngine[str]:
    return sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")


def key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def own_key() -> sa.Column[int]:
    return sa.Column("key", key(), sa.Identity(), nullable=False)


def owned_by(table: str, column: str, owner: str) -> sa.ForeignKeyConstraint:
    """Rows go with the row that owns them."""
    return sa.ForeignKeyConstraint([column], [f"{owner}.key"], ondelete="CASCADE", name=f"fk_{table}_{column}_{owner}")


def create_galleries() -> None:
    op.create_table(
        "galleries",
        own_key(),
        sa.Column("tenant", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("template_version", name(), nullable=False),
        sa.Column("keep_photographs", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("subjects", sa.BigInteger(), nullable=False),
        sa.Column("references", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_galleries"),
        sa.UniqueConstraint("tenant", "name", name="uq_galleries_tenant_name"),
        sqlite_autoincrement=True,
    )


def create_subjects() -> None:
    op.create_table(
        "subjects",
        own_key(),
        sa.Column("tenant", name(), nullable=False),
        sa.Column("gallery_key", key(), nullable=False),
        sa.Column("id", name(), nullable=False),
        sa.Column("display_name", name(), nullable=True),
        sa.Column("references", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_subjects"),
        sa.UniqueConstraint("gallery_key", "id", name="uq_subjects_gallery_key_id"),
        owned_by("subjects", "gallery_key", "galleries"),
        sqlite_autoincrement=True,
    )


def create_references() -> None:
    op.create_table(
        "face_references",
        own_key(),
        sa.Column("tenant", name(), nullable=False),
        sa.Column("id", name(), nullable=False),
        sa.Column("gallery_key", key(), nullable=False),
        sa.Column("subject_key", key(), nullable=False),
        sa.Column("template_version", name(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("image_sha256", name(), nullable=False),
        sa.Column("box", sa.LargeBinary(), nullable=False),
        sa.Column("landmarks", sa.LargeBinary(), nullable=False),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=False),
        sa.Column("has_photograph", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_face_references"),
        sa.UniqueConstraint("tenant", "id", name="uq_face_references_tenant_id"),
        sa.UniqueConstraint(
            "subject_key", "image_sha256", "box", name="uq_face_references_subject_key_image_sha256_box"
        ),
        owned_by("face_references", "gallery_key", "galleries"),
        owned_by("face_references", "subject_key", "subjects"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_face_references_gallery_key_revision", "face_references", ["gallery_key", "revision"])
    op.create_index("ix_face_references_subject_key_key", "face_references", ["subject_key", "key"])


def create_photographs() -> None:
    op.create_table(
        "photographs",
        sa.Column("tenant", name(), nullable=False),
        sa.Column("reference_key", key(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("media_type", name(), nullable=False),
        sa.PrimaryKeyConstraint("reference_key", name="pk_photographs"),
        owned_by("photographs", "reference_key", "face_references"),
    )


def create_revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("tenant", name(), nullable=False),
        sa.Column("gallery_key", key(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reference_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("op", name(), nullable=False),
        sa.Column("template_version", name(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_key", "revision", "reference_key", name="pk_revisions"),
        owned_by("revisions", "gallery_key", "galleries"),
        sqlite_with_rowid=False,
    )
