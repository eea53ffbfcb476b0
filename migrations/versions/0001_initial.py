"""All tables; on PostgreSQL with row-level security.

Row-level security: a transaction sees and writes the rows of the tenant that it names, and no others. It names the
tenant with set_config('facesvc.tenant', ..., true); a transaction that names none sees nothing, and '*' stands for all
tenants: for looking up an API key, whose tenant is not known before, and for migrations. FORCE: the policies bind the
tables' owner, too, which the service mostly is; superusers and roles with BYPASSRLS go by them (PostgreSQL's
documentation, section 5.9).
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAMED = "(SELECT current_setting('facesvc.tenant', true))"
"""In a subselect it is evaluated once for a statement, not for each row."""
ALLOWED = f"(tenant = {NAMED} OR {NAMED} = '*')"


def upgrade() -> None:
    create_tenants()
    create_api_keys()
    create_audit()
    create_galleries()
    create_subjects()
    create_disclosures()
    create_references()
    create_templates()
    create_photographs()
    create_revisions()
    create_answers()
    create_erasures()
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            secure(table)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


TABLES = (
    "tenants",
    "data_keys",
    "api_keys",
    "audit",
    "galleries",
    "subjects",
    "revealed_identities",
    "face_references",
    "templates",
    "template_failures",
    "photographs",
    "revisions",
    "idempotent_answers",
    "erasures",
)
"""In the order in which they are made."""


def secure(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_tenant ON {table} USING {ALLOWED} WITH CHECK {ALLOWED}")


def text(named: str, nullable: bool = False) -> sa.Column[str]:
    """Text of at most 256 characters, ordered by code point in every database."""
    kind = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
    return sa.Column(named, kind, nullable=nullable)


def number(named: str) -> sa.Column[int]:
    return sa.Column(named, sa.BigInteger(), autoincrement=False, nullable=False)


def content(named: str, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(named, sa.LargeBinary(), nullable=nullable)


def moment(named: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(named, sa.DateTime(timezone=True), nullable=nullable)


def key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def own_key() -> sa.Column[int]:
    return sa.Column("key", key(), sa.Identity(), nullable=False)


def key_of(column: str, nullable: bool = False) -> sa.Column[int]:
    """The key of a row in another table."""
    return sa.Column(column, key(), autoincrement=False, nullable=nullable)


def owned_by(table: str, column: str, owner: str) -> sa.ForeignKeyConstraint:
    """Rows go with the row that owns them."""
    return sa.ForeignKeyConstraint([column], [f"{owner}.key"], ondelete="CASCADE", name=f"fk_{table}_{column}_{owner}")


def index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def create_tenants() -> None:
    op.create_table(
        "tenants",
        text("tenant"),
        content("sealed", nullable=True),
        content("secrets"),
        number("audit_sequence"),
        content("audit_digest"),
        content("audit_head"),
        moment("created_at"),
        sa.PrimaryKeyConstraint("tenant", name="pk_tenants"),
    )
    op.create_table(
        "data_keys",
        text("tenant"),
        number("version"),
        content("wrapped"),
        moment("created_at"),
        sa.PrimaryKeyConstraint("tenant", "version", name="pk_data_keys"),
    )


def create_api_keys() -> None:
    op.create_table(
        "api_keys",
        text("tenant"),
        text("id"),
        content("digest"),
        content("sealed"),
        moment("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    index("api_keys", "tenant", "created_at")


def create_audit() -> None:
    op.create_table(
        "audit",
        text("tenant"),
        number("sequence"),
        content("entry"),
        content("digest"),
        sa.PrimaryKeyConstraint("tenant", "sequence", name="pk_audit"),
    )


def create_galleries() -> None:
    op.create_table(
        "galleries",
        own_key(),
        text("tenant"),
        text("name"),
        text("template_version"),
        sa.Column("keep_photographs", sa.Boolean(), nullable=False),
        number("revision"),
        number("subjects"),
        number("references"),
        number("templates"),
        text("shadow_version", nullable=True),
        text("shadow_state", nullable=True),
        number("shadow_templates"),
        content("sealed"),
        number("data_key"),
        number("issue"),
        moment("created_at"),
        sa.PrimaryKeyConstraint("key", name="pk_galleries"),
        sa.UniqueConstraint("tenant", "name", name="uq_galleries_tenant_name"),
        sqlite_autoincrement=True,
    )


def create_subjects() -> None:
    op.create_table(
        "subjects",
        own_key(),
        text("tenant"),
        key_of("gallery_key"),
        text("id"),
        number("references"),
        content("sealed"),
        content("sealed_key"),
        number("data_key"),
        moment("expires_at", nullable=True),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("key", name="pk_subjects"),
        sa.UniqueConstraint("gallery_key", "id", name="uq_subjects_gallery_key_id"),
        owned_by("subjects", "gallery_key", "galleries"),
        sqlite_autoincrement=True,
    )
    index("subjects", "tenant", "data_key")
    index("subjects", "tenant", "expires_at")


def create_disclosures() -> None:
    op.create_table(
        "revealed_identities",
        text("tenant"),
        text("api_key"),
        number("day"),
        key_of("subject_key"),
        sa.PrimaryKeyConstraint("api_key", "day", "subject_key", name="pk_revealed_identities"),
        owned_by("revealed_identities", "subject_key", "subjects"),
    )
    index("revealed_identities", "subject_key")


def create_references() -> None:
    op.create_table(
        "face_references",
        own_key(),
        text("tenant"),
        text("id"),
        key_of("gallery_key"),
        key_of("subject_key"),
        text("identity"),
        content("sealed"),
        sa.Column("has_photograph", sa.Boolean(), nullable=False),
        moment("created_at"),
        sa.PrimaryKeyConstraint("key", name="pk_face_references"),
        sa.UniqueConstraint("tenant", "id", name="uq_face_references_tenant_id"),
        sa.UniqueConstraint("subject_key", "identity", name="uq_face_references_subject_key_identity"),
        owned_by("face_references", "gallery_key", "galleries"),
        owned_by("face_references", "subject_key", "subjects"),
        sqlite_autoincrement=True,
    )
    index("face_references", "gallery_key", "key")
    index("face_references", "subject_key", "key")


def create_templates() -> None:
    op.create_table(
        "templates",
        text("tenant"),
        key_of("reference_key"),
        text("template_version"),
        key_of("gallery_key"),
        number("revision"),
        content("vector"),
        sa.PrimaryKeyConstraint("reference_key", "template_version", name="pk_templates"),
        owned_by("templates", "reference_key", "face_references"),
        owned_by("templates", "gallery_key", "galleries"),
    )
    index("templates", "gallery_key", "template_version", "revision")
    op.create_table(
        "template_failures",
        text("tenant"),
        key_of("reference_key"),
        text("template_version"),
        text("code"),
        sa.PrimaryKeyConstraint("reference_key", "template_version", name="pk_template_failures"),
        owned_by("template_failures", "reference_key", "face_references"),
    )


def create_photographs() -> None:
    op.create_table(
        "photographs",
        text("tenant"),
        key_of("reference_key"),
        content("content"),
        sa.PrimaryKeyConstraint("reference_key", name="pk_photographs"),
        owned_by("photographs", "reference_key", "face_references"),
    )


def create_revisions() -> None:
    op.create_table(
        "revisions",  # key first: else integrity_check of SQLite 3.40 sees NULLs where there are none
        key_of("gallery_key"),
        number("revision"),
        number("reference_key"),
        text("template_version"),
        text("tenant"),
        text("op"),
        sa.PrimaryKeyConstraint("gallery_key", "revision", "reference_key", "template_version", name="pk_revisions"),
        owned_by("revisions", "gallery_key", "galleries"),
        sqlite_with_rowid=False,
    )


def create_answers() -> None:
    table = "idempotent_answers"
    op.create_table(
        table,
        text("tenant"),
        text("key"),
        text("request"),
        key_of("gallery_key", nullable=True),
        key_of("subject_key", nullable=True),
        content("answer", nullable=True),
        moment("expires_at"),
        sa.PrimaryKeyConstraint("tenant", "key", name=f"pk_{table}"),
        owned_by(table, "gallery_key", "galleries"),
        owned_by(table, "subject_key", "subjects"),
    )
    index(table, "tenant", "expires_at")
    index(table, "gallery_key")
    index(table, "subject_key")


def create_erasures() -> None:
    op.create_table(
        "erasures",
        own_key(),
        text("tenant"),
        key_of("gallery_key"),
        text("subject"),
        sa.Column("deleted", sa.JSON(), nullable=False),
        sa.Column("statement", sa.JSON(), nullable=True),
        moment("expires_at"),
        sa.PrimaryKeyConstraint("key", name="pk_erasures"),
        sa.UniqueConstraint("gallery_key", "subject", name="uq_erasures_gallery_key_subject"),
        owned_by("erasures", "gallery_key", "galleries"),
        sqlite_autoincrement=True,
    )
    index("erasures", "tenant", "expires_at")
