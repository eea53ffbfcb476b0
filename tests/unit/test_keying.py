"""Where the master key comes from, and what happens without it."""

import base64
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from facesvc.bootstrap.database import FILE, open_database, open_keyring, source
from facesvc.config import Settings
from facesvc.crypto.master import MasterKey
from facesvc.errors import MasterKeyUnavailable, TenantNotFound
from facesvc.storage.engine import open_engine
from tests.support.databases import migrated_sqlite

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET).decode()
ID = MasterKey(SECRET).id


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(migrated_sqlite(tmp_path))
    yield engine
    engine.dispose()


def key_file(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "kept.key"
    path.write_text(SECRET.hex())
    path.chmod(mode)
    return path


def test_the_first_start_makes_one(engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(data=tmp_path)
    with caplog.at_level(logging.WARNING):
        made = open_keyring(settings, engine).master
    path = tmp_path / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert caplog.messages == [f"new master key {made.id} in {path}: keep a copy, apart from backups of the database"]
    assert path.read_text().strip() not in caplog.text
    assert open_keyring(settings, engine).master.id == made.id
    assert source(settings) == str(path)


def test_a_sealed_database_gets_no_new_one(engine: Engine, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    open_keyring(settings, engine)
    (tmp_path / FILE).unlink()
    with pytest.raises(MasterKeyUnavailable, match="the database is encrypted, and its master key is not here"):
        open_keyring(settings, engine)
    assert not (tmp_path / FILE).exists()


def test_another_one_opens_nothing(engine: Engine, tmp_path: Path) -> None:
    open_keyring(Settings(data=tmp_path), engine)
    with pytest.raises(MasterKeyUnavailable, match=f"not sealed with this master key \\({ID}\\)"):
        open_keyring(Settings(data=tmp_path, master_key=TEXT), engine)  # type: ignore[arg-type]


def test_where_it_comes_from(engine: Engine, tmp_path: Path) -> None:
    """The environment before a command before a file before the data folder's own."""
    (tmp_path / FILE).write_text("nothing")
    by_file = {"master_key_file": key_file(tmp_path)}
    by_command = by_file | {"master_key_command": ["printf", "%s", TEXT]}
    by_itself = by_command | {"master_key": TEXT}
    wanted = (str(by_file["master_key_file"]), "FACESVC_MASTER_KEY_COMMAND", "FACESVC_MASTER_KEY")
    for given, where in zip((by_file, by_command, by_itself), wanted, strict=True):
        settings = Settings(data=tmp_path, **given)  # type: ignore[arg-type]
        assert (open_keyring(settings, engine).master.id, source(settings)) == (ID, where)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"master_key": "too short"}, "not 32 bytes in base64 or hex"),
        ({"master_key_command": ["false"]}, "the command that prints the master key failed"),
        ({"master_key_command": ["/no/such/program"]}, "the command that prints the master key failed"),
        ({"master_key_file": Path("/no/such/file")}, "can't be read"),
    ],
)
def test_what_is_no_master_key(engine: Engine, tmp_path: Path, given: dict[str, object], said: str) -> None:
    with pytest.raises(MasterKeyUnavailable, match=said) as raised:
        open_keyring(Settings(data=tmp_path, **given), engine)  # type: ignore[arg-type]
    assert "too short" not in str(raised.value)
    assert not (tmp_path / FILE).exists()


def test_a_file_that_others_may_read(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(MasterKeyUnavailable, match="chmod"):
        open_keyring(Settings(data=tmp_path, master_key_file=key_file(tmp_path, 0o604)), engine)


def test_it_is_in_no_repr(engine: Engine, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, master_key=TEXT)  # type: ignore[arg-type]
    keyring = open_keyring(settings, engine)
    told = repr((settings, keyring.master, keyring.tenant("default"), vars(keyring)))
    assert TEXT not in told
    assert json.dumps(TEXT) not in told
    assert ID in told


def test_a_tenant_that_is_not_there_gets_no_keys(tmp_path: Path) -> None:
    """Such as one that is deleted at this moment."""
    with open_database(Settings(data=tmp_path)) as database:
        with pytest.raises(TenantNotFound):
            database.store("t-0123456789abcdef")
        assert database.register.ids() == ["default"]
