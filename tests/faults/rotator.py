"""Rotates the default tenant's data key: a process to be killed. A line for each step it has made."""

import sys
from functools import partial

from facesvc.crypto.keyring import Keyring
from facesvc.crypto.master import MasterKey
from facesvc.database import Database
from facesvc.keycare import KeyCare
from facesvc.storage.engine import open_engine
from facesvc.storage.keys import SqlKeyRows


def database_at(url: str) -> Database:
    """As a process of its own sees it, with the master key of all tests."""
    engine = open_engine(url)
    return Database(engine, Keyring(MasterKey(bytes(32)), partial(SqlKeyRows, engine)))


if __name__ == "__main__":
    for rows in KeyCare(database_at(sys.argv[1]), "default").rotate_data_key():
        print(rows, flush=True)
