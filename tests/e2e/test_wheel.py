"""The wheel: one import package that serves in an empty environment."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

pytestmark = pytest.mark.xdist_group("wheel")  # one worker: it is built once

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
SOURCES = ("facesvc", "migrations", "pyproject.toml", "README.md", "LICENSE")


def test_every_folder_with_code_is_in_the_wheel() -> None:
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "facesvc").rglob("*.py")}
    migrations = {"facesvc.migrations", "facesvc.migrations.versions"}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert packages == sorted({".".join(folder.parts) for folder in folders} | migrations)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools writes beside its sources."""
    sources = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    run(UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", "dist", cwd=sources)
    return next((sources / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; what it depends on comes from the tests' own, whose facesvc it does not see."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # .pth files there are not followed
    run(UV, "pip", "install", "--no-deps", "--offline", "--python", folder / "bin" / "python", wheel)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_one_import_package(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"facesvc"}
    assert {"facesvc/py.typed", "facesvc/migrations/env.py", "facesvc/models/heads/fusion.safetensors"} <= set(names)


@pytest.mark.slow
def test_the_wheel_serves_from_an_empty_folder(environment: Path, samples: Path, tmp_path: Path) -> None:
    where = run(environment / "bin" / "python", "-c", "import facesvc; print(facesvc.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)
    people = samples / "people"
    files = {"probe": people / "obama" / "obama.jpg", "reference": people / "obama" / "obama2.jpg"}
    with serving(environment, tmp_path) as url:
        assert httpx.get(f"{url}/readyz").status_code == 200
        photographs = {name: path.read_bytes() for name, path in files.items()}
        assert httpx.post(f"{url}/v1/verify", files=photographs, timeout=60).json()["match"] is True


@contextmanager
def serving(environment: Path, folder: Path) -> Iterator[str]:
    """Run ``facesvc serve --dev`` in an empty folder, with its data in another; yield its address."""
    (folder / "empty").mkdir()
    command = [environment / "bin" / "facesvc", "--data", folder / "data", "serve", "--dev", "--port", "0"]
    process = subprocess.Popen(command, cwd=folder / "empty", env=clean(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(found[1] for found in (re.search(r"ready at (\S+)", line) for line in process.stderr) if found)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean() -> dict[str, str]:
    """Return the environment without what points at this repository."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
