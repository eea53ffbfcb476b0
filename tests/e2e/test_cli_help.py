"""The command line explains itself, is documented, and starts without loading what it does not need."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from facesvc.cli.app import app

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = {
    "alembic", "cv2", "facenet_pytorch", "faiss", "fastapi", "httpx", "numpy", "onnx", "onnxruntime", "openvino", "PIL",
    "pyarrow", "pydantic", "sqlalchemy", "torch", "torchvision", "uvicorn",
}  # fmt: skip


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name, groups too."""
    waiting: list[tuple[str, Any]] = [("facesvc", get_command(app))]
    while waiting:
        name, command = waiting.pop()
        yield name, command
        waiting += [(f"{name} {word}", sub) for word, sub in getattr(command, "commands", {}).items()]


COMMANDS = dict(commands())
RUNNABLE = {name: command for name, command in COMMANDS.items() if not hasattr(command, "commands")}


def test_the_commands() -> None:
    assert sorted(name.removeprefix("facesvc ") for name in RUNNABLE) == [
        "api-keys create", "api-keys list", "api-keys revoke", "api-keys rotate",
        "audit head", "audit list", "audit verify", "doctor", "enrol", "enrol-folder", "evaluate",
        "galleries create", "galleries delete", "galleries export", "galleries import", "galleries list",
        "galleries model abandon", "galleries model agreement", "galleries model cut-over", "galleries model finish",
        "galleries model left-behind", "galleries model roll-back", "galleries model run", "galleries model start",
        "galleries model status", "galleries show", "identify",
        "keys reissue-templates", "keys rotate-data", "keys rotate-master", "keys status",
        "models build", "models check", "models list", "models use", "receipts key", "receipts verify",
        "samples", "serve",
        "subjects canary", "subjects delete", "subjects erase", "subjects export", "subjects list",
        "subjects rename", "subjects retain",
        "subjects show", "sweep", "tenants create", "tenants delete", "tenants list", "verify",
    ]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_parameter_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    assert f"Example: {name}" in RUNNABLE[name].help


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_command_is_documented(name: str) -> None:
    family, _, word = name.removeprefix("facesvc ").partition(" ")
    line = next(line for line in DOCS.read_text().splitlines() if f"`facesvc {family}" in line)
    assert not word or f"`{word}`" in line or f"`facesvc {family} {word}`" in line


@pytest.mark.parametrize("arguments", [["--help"], ["identify", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from facesvc.cli import main\n"
        f"try: main({arguments})\n"
        f"except SystemExit as end: print(end.code, sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    allowed = ["pydantic"] if arguments[0] == "identify" else []  # the settings are read before a command is asked
    assert done.stderr.splitlines()[-1] == f"0 {allowed}"
