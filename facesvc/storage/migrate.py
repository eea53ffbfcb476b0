"""Brings a database to the schema this release wants, with Alembic's scripts in ``migrations/``."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from facesvc.errors import StoreUnavailable
from facesvc.storage.engine import TENANT, WRITING, connected
from facesvc.storage.transactions import EVERY_TENANT

ADVISORY_LOCK = 0x66616365  # "face": any number, the same in every process that migrates


def upgrade(url: str) -> None:
    """Creates or upgrades the tables; does nothing where they are current. Processes that start at once wait for
    one another, and a migration that fails leaves the schema as it was. Raises StoreUnavailable."""
    try:
        with (
            connected(url) as engine,
            engine.execution_options(**{WRITING: True, TENANT: EVERY_TENANT}).begin() as connection,
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            command.upgrade(configured(connection), "head")
    except SQLAlchemyError as error:
        raise StoreUnavailable("database can't be migrated") from error


def configured(connection: Connection) -> Config:
    """Alembic's configuration for commands on this connection, inside its transaction."""
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def scripts() -> Path:
    """Return the folder of the scripts: within the installed package, beside it in the repository."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
