"""Where the master key comes from, as configured, and what it opens: the part of the composition root about keys."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from facesvc.config import Settings
from facesvc.crypto.keyring import Keyring
from facesvc.crypto.master import MasterKey, from_command, from_file, from_text, make_file
from facesvc.errors import MasterKeyUnavailable
from facesvc.storage.keys import SqlKeyRows, anything_sealed
from facesvc.storage.transactions import EVERY_TENANT, Transactions

FILE = "master.key"
"""Of the master key, in the data folder, where no other is configured."""

logger = logging.getLogger(__name__)


def open_keyring(settings: Settings, engine: Engine) -> Keyring:
    """All keys of the database of ``engine``, which is migrated. Raises MasterKeyUnavailable where the master key can't
    be had, or is not the one that the database is sealed with."""
    keyring = Keyring(open_master(settings, engine), partial(SqlKeyRows, engine))
    keyring.require_master()
    return keyring


def open_master(settings: Settings, engine: Engine) -> MasterKey:
    """The master key: that of the environment, of a command, of a file, or of the data folder's own file. The last is
    made where nothing was ever sealed; a new key beside a sealed database would only hide that the right one is lost.
    Raises MasterKeyUnavailable."""
    known = configured(settings)
    if known is not None:
        return known[1]()
    path = settings.data / FILE
    if path.exists():
        return from_file(path)
    if is_sealed(engine):
        if path.exists():  # another process has just made both
            return from_file(path)
        raise MasterKeyUnavailable(f"the database is encrypted, and its master key is not here: {advice(path)}")
    made = make_file(path)
    logger.warning("new master key %s in %s: keep a copy, apart from backups of the database", made.id, path)
    return made


def configured(settings: Settings) -> tuple[str, Callable[[], MasterKey]] | None:
    """Where the master key comes from, in words, and how it is had; None where that is not said."""
    if settings.master_key is not None:
        return "FACESVC_MASTER_KEY", partial(from_text, settings.master_key.get_secret_value())
    if settings.master_key_command is not None:
        return "FACESVC_MASTER_KEY_COMMAND", partial(from_command, settings.master_key_command)
    if settings.master_key_file is not None:
        return str(settings.master_key_file), partial(from_file, settings.master_key_file)
    return None


def source(settings: Settings) -> str:
    """Where the master key comes from, in words."""
    known = configured(settings)
    return known[0] if known else str(settings.data / FILE)


def is_sealed(engine: Engine) -> bool:
    """Whether anything in the database was sealed with a master key. Raises StoreUnavailable."""
    with Transactions(engine, EVERY_TENANT).reading() as session:
        return anything_sealed(session)


def advice(path: Path) -> str:
    return f"put it to {path}, or set FACESVC_MASTER_KEY_FILE, FACESVC_MASTER_KEY or FACESVC_MASTER_KEY_COMMAND"
