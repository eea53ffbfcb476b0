"""``facesvc models``, as a user runs it."""

import json
from pathlib import Path

from typer.testing import CliRunner

from facesvc.cli import models
from facesvc.config import Settings
from facesvc.models import manifest
from facesvc.models.packs import MANIFESTS, NETWORK
from tests.packs import flip_a_bit


def run(data: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(models.app, arguments, obj=Settings(data=data))
    return result.exit_code, result.stdout


def test_the_command_line_builds_lists_checks_and_chooses(tmp_path: Path) -> None:
    version = manifest.read(MANIFESTS / "sface.json").template_version
    assert run(tmp_path, "build", "sface") == (0, f"sface is built: {version}\n")
    code, text = run(tmp_path, "list", "--json")
    rows = {row["name"]: row for row in json.loads(text)}
    assert code == 0
    assert {name: (row["state"], row["in_use"]) for name, row in rows.items()} == {
        "dlib": ("not built", False),
        "facenet": ("not built", False),
        "facenet-casia": ("not built", False),
        "sface": ("built", True),
    }
    assert rows["sface"]["template_version"] == version
    assert rows["facenet-casia"]["template_version"] is None
    assert run(tmp_path, "check", "--json") == (
        0,
        json.dumps([{"name": "sface", "code": "ok", "detail": version}]) + "\n",
    )
    assert run(tmp_path, "use", "sface") == (0, f"sface is in use: {version}\n")
    flip_a_bit(tmp_path / "packs" / "sface" / NETWORK)
    code, text = run(tmp_path, "check", "sface", "--json")
    assert (code, json.loads(text)[0]["code"]) == (1, "pack_damaged")
    _, text = run(tmp_path, "list")
    assert [line.split("\t")[:3] for line in text.splitlines()][-1] == ["*", "sface", "pack_damaged"]
