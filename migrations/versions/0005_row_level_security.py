"""Row-level security on PostgreSQL: a transaction sees and writes the rows of the tenant that it names, and no others.

It names it with set_config('facesvc.tenant', ..., true); one that names none sees nothing, and '*' stands for all
tenants: for looking up an API key, whose tenant is not known before, and for migrations. FORCE: the policies bind the
tables' owner, too, which the service mostly is; superusers and roles with BYPASSRLS go by them (PostgreSQL's
documentation, section 5.9).
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = (
    "tenants",
    "data_keys",
    "api_keys",
    "revealed_identities",
    "audit",
    "galleries",
    "subjects",
    "face_references",
    "templates",
    "template_failures",
    "photographs",
    "revisions",
    "idempotent_answers",
    "erasures",
)
NAMED = "(SELECT current_setting('facesvc.tenant', true))"
"""In a subselect it is evaluated once for a statement, not for each row."""
ALLOWED = f"(tenant = {NAMED} OR {NAMED} = '*')"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_tenant ON {table} USING {ALLOWED} WITH CHECK {ALLOWED}")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.execute(f"DROP POLICY of_tenant ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
