"""Alembic runs this for every command: on the connection it was handed, or, for developers, on ``-x url=...``."""

from alembic import context
from sqlalchemy import Connection

from facesvc.storage.engine import TENANT, WRITING, open_engine
from facesvc.storage.tables import Table
from facesvc.storage.transactions import EVERY_TENANT


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        transactional_ddl=True,  # true of SQLite too, now that storage.engine begins its transactions
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


handed: Connection | None = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
else:
    with (
        open_engine(context.get_x_argument(as_dictionary=True)["url"])
        .execution_options(**{WRITING: True, TENANT: EVERY_TENANT})
        .begin() as opened
    ):
        run(opened)
