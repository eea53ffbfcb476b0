"""``facesvc models``, as a user runs it."""

import json
from pathlib import Path

from typer.testing import CliRunner

from facesvc.cli import models
from facesvc.config import Settings
from facesvc.models import manifest
from facesvc.models.packs import MANIFESTS, network_file
from tests.support.packs import dlib_file, flip_a_bit, sface_file, written


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
        "fusion": ("not built", True),
        "sface": ("built", False),
    }
    assert rows["sface"]["template_version"] == version
    assert rows["facenet-casia"]["template_version"] is None
    assert rows["fusion"]["networks"] == [
        "face_recognition_sface_2021dec_int8bq.onnx",
        "dlib_face_recognition_resnet_model_v1.dat",
    ]
    assert run(tmp_path, "check", "--json") == (
        0,
        json.dumps([{"name": "sface", "code": "ok", "detail": version}]) + "\n",
    )
    assert run(tmp_path, "use", "sface") == (0, f"sface is in use: {version}\n")
    flip_a_bit(tmp_path / "packs" / "sface" / network_file(0))
    code, text = run(tmp_path, "check", "sface", "--json")
    assert (code, json.loads(text)[0]["code"]) == (1, "pack_damaged")
    _, text = run(tmp_path, "list")
    assert [line.split("\t")[:3] for line in text.splitlines()][-1] == ["*", "sface", "pack_damaged"]


def test_a_manifest_that_cannot_be_read_hides_no_other_pack(tmp_path: Path) -> None:
    (tmp_path / "packs" / "sface").mkdir(parents=True)
    (tmp_path / "packs" / "sface" / "manifest.json").write_text('{"name": "sface"}')
    code, text = run(tmp_path, "list", "--json")
    rows = {row["name"]: row for row in json.loads(text)}
    assert (code, rows["sface"]["state"], rows["sface"]["title"]) == (0, "pack_invalid", None)
    assert rows["dlib"]["title"] == "dlib ResNet-29, 150 px"
    _, text = run(tmp_path, "list")
    assert text.splitlines()[-1] == "\tsface\tpack_invalid\t\t\t\tunknown\twhen built"


def test_weights_are_given_once_for_each_network(tmp_path: Path) -> None:
    """In the manifest's order; the digests found stand in the built manifest."""
    first, second = written(tmp_path / "a", sface_file()), written(tmp_path / "b", dlib_file())
    version = manifest.read(MANIFESTS / "fusion.json").template_version
    arguments = ("build", "fusion", "--weights", str(first), "--weights", str(second))
    assert run(tmp_path, *arguments) == (0, f"fusion is built: {version}\n")
