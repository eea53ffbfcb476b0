"""Which home a gallery gets: by its name, from the settings; and what `facesvc doctor` says of the engines."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from facesvc.bootstrap.indexes import in_memory, open_home
from facesvc.cli.doctor import Finding, check_database, check_engines
from facesvc.config import Settings
from facesvc.core.types import NewGallery, ShadowState
from facesvc.errors import IndexUnavailable
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.growing import storable
from facesvc.index.homes import ChosenHomes, IndexHome
from facesvc.index.local import SnapshotHome
from facesvc.index.snapshot import NoSeal
from facesvc.storage.engine import address
from facesvc.storage.store import Store
from tests.support.databases import VERSION, keep_master_key, new_reference, unit_vectors
from tests.support.engines import ENGINE_PARAMETERS

AWAY = "http://127.0.0.1:1"


@contextmanager
def opened(settings: Settings, store: Store) -> Iterator[IndexHome]:
    with open_home(settings, store, in_memory(settings, store, NoSeal())) as home:
        yield home


def configured(tmp_path: Path, url: str, **settings: object) -> Settings:
    return Settings(data=tmp_path, database_url=url, **settings)  # type: ignore[arg-type]


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESVC_INDEX", "pgvector")
    monkeypatch.setenv("FACESVC_GALLERY_INDEX", '{"staff": "milvus", "guests": "flat"}')
    monkeypatch.setenv("FACESVC_MILVUS_TOKEN", "root:secret word")
    settings = Settings()
    assert (settings.index, settings.gallery_index) == ("pgvector", {"staff": "milvus", "guests": "flat"})
    assert settings.milvus_token is not None
    assert settings.milvus_token.get_secret_value() == "root:secret word"
    assert "secret word" not in repr(settings)
    monkeypatch.setenv("FACESVC_GALLERY_INDEX", '{"staff": "mysql"}')
    with pytest.raises(ValidationError, match=r"gallery_index\.staff"):
        Settings()


@pytest.mark.parametrize("engine", ENGINE_PARAMETERS)
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # pgvector's engine is the service's own database
def test_by_name(engine: str, url: str, store: Store, milvus_uri: str, tmp_path: Path) -> None:
    chosen = {"staff": engine, "guests": "exact"}
    settings = configured(tmp_path, url, index="flat", gallery_index=chosen, milvus_uri=milvus_uri)
    for name in ("guests", "others"):
        store.galleries.create(NewGallery(name), VERSION)
    with opened(settings, store) as home:
        kinds = [home.open(store.galleries.get(name)).index.kind for name in ("staff", "guests", "others")]
        assert kinds == [engine, "exact", "flat"]
        store.galleries.delete("staff")
        assert [engine in residue.lower() for residue in home.sweep(list)] == [True]
    (finding,) = check_engines(settings)
    assert (finding.check, finding.status) == (engine, "ok")
    assert finding.detail.endswith("keeps 0 indexes of this database")


def test_an_engine_without_its_address(store: Store, url: str, tmp_path: Path) -> None:
    settings = configured(tmp_path, url, gallery_index={"staff": "milvus"})
    with pytest.raises(IndexUnavailable, match="FACESVC_MILVUS_URI is not set"), opened(settings, store):
        raise AssertionError


def test_doctor_names_engines_that_are_away(url: str, tmp_path: Path) -> None:
    settings = configured(tmp_path, url, index="milvus", milvus_uri=AWAY)
    assert list(check_engines(settings)) == [
        Finding(
            "milvus",
            "fail",
            "Milvus does not answer as it should [index_unavailable]",
            "see docs/operations.md, Vector engines; other galleries, and verification, work without it",
        )
    ]
    assert list(check_engines(configured(tmp_path, url))) == []


def test_doctor_counts_those_that_answer(store: Store, url: str, tmp_path: Path) -> None:
    """References that a model change left behind have no template in the index, and are no damage."""
    store.references.add("staff", "ada", [new_reference(seed) for seed in range(3)])
    store.model_changes.start("staff", "sha256:next")
    store.model_changes.swap_versions("staff", ShadowState.FILLING, leave=True)
    assert (store.galleries.get("staff").references, store.galleries.get("staff").templates) == (3, 0)
    keep_master_key(tmp_path)
    assert check_database(configured(tmp_path, url)).status == "ok"


def test_kinds_in_memory_spare_each_others_snapshots(store: Store, tmp_path: Path) -> None:
    """They lie in one folder; a gallery's index comes from its snapshot although galleries have different kinds."""
    store.galleries.create(NewGallery("guests"), VERSION)
    for gallery in ("staff", "guests"):
        store.references.add(gallery, "ada", [new_reference(1)])

    def home() -> ChosenHomes:
        flat, compressed = (
            SnapshotHome(lambda _, kind=kind: storable(kind, 1.0), store, tmp_path, least=1)
            for kind in ("flat", "compressed")
        )
        return ChosenHomes(flat, {"staff": compressed})

    indexes = GalleryIndexes(store, home())
    for gallery in ("staff", "guests"):
        assert len(indexes.search(store.galleries.get(gallery), unit_vectors(1), 1)[0]) == 1
    indexes.follow(lambda: False)
    opened = home()
    kept = [opened.open(store.galleries.get(name)) for name in ("staff", "guests")]
    assert [(k.revision, k.index.kind, len(k.index)) for k in kept] == [(1, "compressed", 1), (1, "flat", 1)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://a:b@db/faces", "postgresql+psycopg://c@db:5432/faces?sslmode=require", True),
        ("postgresql://a@db/faces", "postgresql://a@db/others", False),
        ("postgresql://a@db/faces", "postgresql://a@db2/faces", False),
        ("postgresql://a@/faces?host=/run/one", "postgresql://a@/faces?host=/run/two", False),
        ("sqlite:////srv/facesvc.db", "sqlite:////srv/../srv/facesvc.db", True),
        ("sqlite:////srv/facesvc.db", "sqlite:////srv/other.db", False),
    ],
)
def test_address_of_a_database(one: str, other: str, same: bool) -> None:
    assert (address(one) == address(other)) is same
    assert "b@" not in address(one)


@pytest.mark.parametrize(
    ("package", "program"),
    [
        ("pymilvus", "from facesvc.index.milvus import MilvusServer; MilvusServer('http://127.0.0.1:1')"),
        ("pgvector", "from facesvc.index.pgvector import require_client; require_client()"),
    ],
)
def test_a_client_that_is_not_installed(package: str, program: str) -> None:
    blocked = f"import sys; sys.modules['{package}'] = None; {program}"
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    extra = {"pymilvus": "milvus"}.get(package, package)
    assert done.stderr.splitlines()[-1].endswith(f"is not installed: pip install 'facesvc[{extra}]'")


def test_clients_are_loaded_when_they_are_needed() -> None:
    heavy = "{'pymilvus', 'pgvector', 'pandas', 'grpc'}"
    program = f"import sys, facesvc.bootstrap.indexes; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
