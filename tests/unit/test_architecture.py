"""The rules of the house that import-linter (`make lint`) can't check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "facesvc"
FILES = sorted(p for folder in ("facesvc", "training", "migrations") for p in (ROOT / folder).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Full names of the modules that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            names |= {f"facesvc.{a.name}" for a in node.names} if node.module == "facesvc" else {node.module}
    return names


@pytest.mark.parametrize("file", sorted((PACKAGE / "core").glob("*.py")), ids=lambda f: f.name)
def test_core_imports_numpy_and_the_standard_library_alone(file: Path) -> None:
    ours = {name for name in imported(file) if name.split(".")[0] == "facesvc"}
    others = {name.split(".")[0] for name in imported(file)} - {"facesvc", "numpy"}
    assert others <= set(sys.stdlib_module_names)
    assert {name for name in ours if not name.startswith("facesvc.core")} <= {"facesvc.errors"}


def test_core_runs_without_anything_else() -> None:
    """The decision itself needs no model, no database and no web: what is loaded proves it."""
    program = (
        "import sys, facesvc.core.compare, facesvc.core.decide, facesvc.core.quality, facesvc.core.metrics;"
        "print(sorted({'cv2','torch','sqlalchemy','fastapi','PIL','faiss','onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_only_config_reads_the_environment() -> None:
    readers = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    telemetry, pytorchs_own = "facesvc/__init__.py", "facesvc/models/carriers.py"
    assert readers <= {"facesvc/config.py", telemetry, pytorchs_own}


def test_only_errors_of_web_know_http_statuses() -> None:
    knowing = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*.py")
        if "http" in {name.split(".")[0] for name in imported(file)} and "web" not in file.parts
    }
    assert knowing == set()


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_functions_stay_small(file: Path) -> None:
    """A file has one subject, however long; one near 600 lines has two. A function has 50 lines at most."""
    assert len(file.read_text().splitlines()) <= 600
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, f"{file}:{node.lineno} {node.name}"
