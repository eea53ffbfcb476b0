"""Templates leave their references for a table of their own, where a reference has one for each version.

The way back keeps the templates of the version that answers. References without one (left behind by a model change)
have no place in the older schema: they are deleted, with their photographs.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LOG = ["tenant", "gallery_key", "revision", "reference_key", "op", "template_version"]
MOVED = ("template_version", "revision", "vector")
"""Columns that were the references' own."""


def upgrade() -> None:
    create_templates()
    create_failures()
    op.execute(
        "INSERT INTO templates (tenant, reference_key, template_version, gallery_key, revision, vector) "
        "SELECT tenant, key, template_version, gallery_key, revision, vector FROM face_references"
    )
    op.drop_index("ix_face_references_gallery_key_revision", "face_references")
    for column in MOVED:
        op.execute(f"ALTER TABLE face_references DROP COLUMN {column}")
    op.create_index("ix_face_references_gallery_key_key", "face_references", ["gallery_key", "key"])
    add_shadows()
    key_log("gallery_key", "revision", "reference_key", "template_version")


def downgrade() -> None:
    kept = f"SELECT reference_key FROM templates t {ANSWERING}"  # noqa: S608  constants, as all that follow
    op.execute(f"DELETE FROM face_references WHERE key NOT IN ({kept})")  # noqa: S608
    recount()
    op.execute(
        "DELETE FROM revisions WHERE template_version <> "
        "(SELECT template_version FROM galleries g WHERE g.key = revisions.gallery_key)"
    )
    key_log("gallery_key", "revision", "reference_key")
    restore_columns()
    op.drop_index("ix_face_references_gallery_key_key", "face_references")
    op.create_index("ix_face_references_gallery_key_revision", "face_references", ["gallery_key", "revision"])
    op.drop_table("template_failures")
    op.drop_table("templates")
    for column in ("templates", "shadow_version", "shadow_state", "shadow_templates"):
        op.execute(f"ALTER TABLE galleries DROP COLUMN {column}")


ANSWERING = "JOIN galleries g ON g.key = t.gallery_key AND g.template_version = t.template_version"


def name() -> sa.types.TypeEngine[str]:
    return sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")


def key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def owned_by(table: str, column: str, owner: str) -> sa.ForeignKeyConstraint:
    """Rows go with the row that owns them."""
    return sa.ForeignKeyConstraint([column], [f"{owner}.key"], ondelete="CASCADE", name=f"fk_{table}_{column}_{owner}")


def create_templates() -> None:
    op.create_table(
        "templates",
        sa.Column("tenant", name(), nullable=False),
        sa.Column("reference_key", key(), autoincrement=False, nullable=False),
        sa.Column("template_version", name(), nullable=False),
        sa.Column("gallery_key", key(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("reference_key", "template_version", name="pk_templates"),
        owned_by("templates", "reference_key", "face_references"),
        owned_by("templates", "gallery_key", "galleries"),
    )
    op.create_index(
        "ix_templates_gallery_key_template_version_revision",
        "templates",
        ["gallery_key", "template_version", "revision"],
    )


def create_failures() -> None:
    op.create_table(
        "template_failures",
        sa.Column("tenant", name(), nullable=False),
        sa.Column("reference_key", key(), autoincrement=False, nullable=False),
        sa.Column("template_version", name(), nullable=False),
        sa.Column("code", name(), nullable=False),
        sa.PrimaryKeyConstraint("reference_key", "template_version", name="pk_template_failures"),
        owned_by("template_failures", "reference_key", "face_references"),
    )


def add_shadows() -> None:
    for count in ("templates", "shadow_templates"):
        op.add_column("galleries", sa.Column(count, sa.BigInteger(), nullable=False, server_default="0"))
    for column in ("shadow_version", "shadow_state"):
        op.add_column("galleries", sa.Column(column, name(), nullable=True))
    op.execute('UPDATE galleries SET templates = "references"')


def recount() -> None:
    """After references were deleted."""
    op.execute(
        'UPDATE galleries SET "references" = '
        "(SELECT count(*) FROM face_references r WHERE r.gallery_key = galleries.key)"
    )
    op.execute(
        'UPDATE subjects SET "references" = (SELECT count(*) FROM face_references r WHERE r.subject_key = subjects.key)'
    )


def key_log(*columns: str) -> None:
    """Gives the log this primary key. SQLite can't change one: there, the table is made anew."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("pk_revisions", "revisions", type_="primary")
        op.create_primary_key("pk_revisions", "revisions", list(columns))
        return
    op.create_table(
        "revisions_anew",  # key first: else integrity_check of SQLite 3.40 sees NULLs where there are none
        sa.Column("gallery_key", key(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reference_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("template_version", name(), nullable=False),
        sa.Column("tenant", name(), nullable=False),
        sa.Column("op", name(), nullable=False),
        sa.PrimaryKeyConstraint(*columns, name="pk_revisions"),
        owned_by("revisions", "gallery_key", "galleries"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO revisions_anew ({', '.join(LOG)}) SELECT {', '.join(LOG)} FROM revisions")  # noqa: S608
    op.drop_table("revisions")
    op.rename_table("revisions_anew", "revisions")


def restore_columns() -> None:
    """The references' own columns, filled. SQLite adds a column that is never null only with a default."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    kinds = {
        "template_version": (name(), "''"),
        "revision": (sa.BigInteger(), "0"),
        "vector": (sa.LargeBinary(), "x''"),
    }
    for column, (kind, empty) in kinds.items():
        default = sa.text(empty) if sqlite else None
        op.add_column("face_references", sa.Column(column, kind, nullable=not sqlite, server_default=default))
    here = f"FROM templates t {ANSWERING} WHERE t.reference_key = face_references.key"
    moved = ", ".join(f"{column} = (SELECT t.{column} {here})" for column in MOVED)
    op.execute(f"UPDATE face_references SET {moved}")  # noqa: S608
    if not sqlite:
        for column in MOVED:
            op.alter_column("face_references", column, nullable=False)
