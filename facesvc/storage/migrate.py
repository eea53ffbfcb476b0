"""Brings a database to the schema this release wants, with Alembic's scripts in ``migrations/``."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from facesvc.errors import StoreUnavailable
from facesvc.storage.engine import TENANT, WRITING, connected
from facesvc.storage.transactions import EVERY_TENANT

if TYPE_CHECKING:
    from alembic.config import Config

ADVISORY_LOCK = 0x66616365  # "face": any number, the same in every process that migrates


def upgrade(url: str) -> None:
    """Create or upgrade the tables; do nothing where they are current. Processes that start at once wait for one
    another, and a migration that fails leaves the schema as it was. Raises StoreUnavailable."""
    try:
        with connected(url) as engine:
            if not is_current(engine):
                run_scripts(engine)
    except SQLAlchemyError as error:
        raise StoreUnavailable("database can't be migrated") from error


def is_current(engine: Engine) -> bool:
    """Return whether the database has the newest schema. Asked first: most commands then do without Alembic, whose
    import takes a fifth of their time."""
    try:
        with engine.connect() as connection:
            return connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [newest()]
    except DBAPIError:  # a new database, or one that is away: the scripts will tell
        return False


def newest() -> str:
    """Return the newest script's number, which is its revision."""
    return max(script.name.partition("_")[0] for script in (scripts() / "versions").glob("[0-9]*.py"))


def run_scripts(engine: Engine) -> None:
    from alembic import command

    with engine.execution_options(**{WRITING: True, TENANT: EVERY_TENANT}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        command.upgrade(configured(connection), "head")


def configured(connection: Connection) -> "Config":
    """Return Alembic's configuration for commands on this connection, inside its transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def scripts() -> Path:
    """Return the folder of the scripts: within the installed package, beside it in the repository."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
