"""`facesvc enrol-folder` and `facesvc identify`, local and through a server, on real photographs."""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.support.commandline import CommandLine

pytestmark = pytest.mark.xdist_group("cli-identify")  # one worker: the gallery is enrolled once

STAFF = ("--gallery", "staff")


@pytest.fixture(scope="module")
def enrolled(cli: CommandLine, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What enrol-folder says of a folder with obama, biden and two files that can't be enrolled."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("obama/obama.jpg", "biden/biden.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(samples / "people" / name, folder / name)
    shutil.copy(samples / "group.jpg", folder / "biden" / "group.jpg")
    (folder / "biden" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "biden" / "notes.txt").write_text("no photograph by its name")
    answer = cli.json("enrol-folder", folder, *STAFF, code=1)
    assert cli.json("enrol-folder", folder, *STAFF, code=1) == answer | {"enrolled": 0, "already_enrolled": 2}
    return answer | {"folder": folder}


@pytest.fixture(scope="module")
def server(cli: CommandLine, enrolled: object) -> Iterator[tuple[str, str]]:
    """The option that asks a server over the same data folder. What is tested through it is tested of the local
    store too: both give the same rows, and a client starts sooner, as it loads no models."""
    with cli.serving() as url:
        yield "--server", url


@pytest.fixture(scope="module")
def staff(server: tuple[str, str]) -> tuple[str, ...]:
    return *STAFF, *server


@pytest.fixture(scope="module")
def probes(probes: Path, samples: Path) -> Path:
    """With one in a folder below, and files that are passed over."""
    (probes / "sub").mkdir()
    shutil.copy(samples / "people" / "biden" / "biden.jpg", probes / "sub" / "=copy.jpg")
    (probes / ".hidden.jpg").write_bytes(b"passed over")
    (probes / "readme.txt").write_text("passed over")
    return probes


@pytest.fixture(scope="module")
def rows(cli: CommandLine, enrolled: dict[str, Any], probes: Path) -> list[dict[str, Any]]:
    """The rows of all probes, from stdout."""
    return cli.lines("identify", probes, *STAFF, code=1)


def test_enrol_folder(enrolled: dict[str, Any]) -> None:
    assert {key: enrolled[key] for key in ("gallery", "subjects", "photographs", "enrolled", "already_enrolled")} == {
        "gallery": "staff",
        "subjects": 2,
        "photographs": 4,
        "enrolled": 2,
        "already_enrolled": 0,
    }
    rejected = [(Path(outcome["path"]).name, outcome["subject"], outcome["code"]) for outcome in enrolled["rejected"]]
    assert rejected == [("broken.png", "biden", "corrupt_image"), ("group.jpg", "biden", "several_faces")]


def test_enrol_folder_without_people(cli: CommandLine, tmp_path: Path) -> None:
    assert f"expected {tmp_path}/<subject>/<photographs> [" in cli.refusal("enrol-folder", tmp_path, *STAFF)


def test_identify(rows: list[dict[str, Any]], probes: Path) -> None:
    """In sorted order, each face with who it is; each bad file with its code."""
    found = [(str(Path(row["path"]).relative_to(probes)), row["decision"], row["subject"], row["code"]) for row in rows]
    assert found == [
        ("astronaut.png", "unknown", None, None),
        ("biden.jpg", "match", "biden", None),
        ("broken.jpg", None, None, "corrupt_image"),
        ("empty.jpg", None, None, "not_an_image"),
        ("group.jpg", "match", "biden", None),
        ("group.jpg", "match", "obama", None),
        ("group.jpg", "unknown", None, None),
        ("no_face.jpg", None, None, "no_face"),
        ("obama2.jpg", "match", "obama", None),
        ("sub/=copy.jpg", "match", "biden", None),
    ]
    assert [row["face"] for row in rows if row["path"].endswith("group.jpg")] == [0, 1, 2]


def test_a_distance_has_its_contract(rows: list[dict[str, Any]]) -> None:
    faces = [row for row in rows if row["code"] is None]
    assert {row["threshold"] for row in faces} == {1.1}
    assert len({row["template_version"] for row in faces}) == 1
    assert all(row["template_version"].startswith("sha256:") for row in faces)
    assert [row["distance"] < row["threshold"] for row in faces] == [row["decision"] == "match" for row in faces]
    assert [row["distance"] for row in faces] == [row["candidates"][0]["distance"] for row in faces]
    assert [sorted(c["subject"] for c in row["candidates"]) for row in faces] == [["biden", "obama"]] * len(faces)
    assert next(row["distance"] for row in faces if row["path"].endswith("/biden.jpg")) == 0.0


@pytest.mark.slow
def test_options_of_identify(
    cli: CommandLine, rows: list[dict[str, Any]], probes: Path, staff: tuple[str, ...]
) -> None:
    strict = cli.lines("identify", probes / "obama2.jpg", *staff, "--threshold", 0.1, "--top-k", 1)
    assert [(row["decision"], row["subject"], row["threshold"]) for row in strict] == [("unknown", None, 0.1)]
    assert [candidate["subject"] for candidate in strict[0]["candidates"]] == ["obama"]
    group = probes / "group.jpg"
    assert cli.lines("identify", group, *staff, "--face", "largest") == [rows[4]]
    assert cli.lines("identify", group, *staff, "--face", "only", code=1)[0]["code"] == "several_faces"


@pytest.mark.slow
def test_patterns_and_lists(cli: CommandLine, rows: list[dict[str, Any]], probes: Path, staff: tuple[str, ...]) -> None:
    pattern = str(probes / "**" / "*[cx]opy.jpg")  # quoted: the shell leaves it to us
    assert cli.lines("identify", pattern, *staff) == [rows[-1]]
    listed = f"{probes / 'obama2.jpg'}\n\nnone.jpg\n{probes / 'biden.jpg'}".encode()
    by_line = cli.lines("identify", "-", *staff, stdin=listed, code=1)
    assert [row["path"] for row in by_line] == [str(probes / "obama2.jpg"), "none.jpg", str(probes / "biden.jpg")]
    assert (by_line[0], by_line[2]) == (rows[8], rows[1])
    assert (by_line[1]["code"], by_line[1]["detail"]) == ("file_unreadable", "No such file or directory")
    by_zero = listed.replace(b"\n\nnone.jpg\n", b"\0")
    assert cli.lines("identify", "-", "--null", *staff, stdin=by_zero) == [rows[8], rows[1]]


def test_names_that_look_like_options(cli: CommandLine, probes: Path, staff: tuple[str, ...], tmp_path: Path) -> None:
    shutil.copy(probes / "biden.jpg", tmp_path / "-face.jpg")
    odd = os.fsdecode(b"\xff.jpg")
    shutil.copy(probes / "biden.jpg", tmp_path / odd)
    found = cli.lines("identify", *staff, "--", "-face.jpg", odd, cwd=tmp_path)
    assert [(row["path"], row["subject"]) for row in found] == [("-face.jpg", "biden"), ("\\xff.jpg", "biden")]


@pytest.mark.slow
def test_formats_hold_the_same_rows(
    cli: CommandLine, rows: list[dict[str, Any]], probes: Path, staff: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("rows.jsonl", "rows.csv", "rows.parquet"):
        done = cli.run("identify", probes, *staff, "--output", tmp_path / name)
        assert done.returncode == 1
        assert done.stderr.decode().startswith(
            "8 files, 7 faces: 5 match, 2 unknown, 0 inconclusive; "
            "not processed: 1 corrupt_image, 1 not_an_image, 1 no_face"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "rows.jsonl", "rows.parquet"]
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == rows
    assert pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist() == rows
    with (tmp_path / "rows.csv").open(newline="") as stream:
        assert [from_csv(row) for row in csv.DictReader(stream)] == rows


def from_csv(cells: dict[str, str]) -> dict[str, Any]:
    """The row behind a line of CSV."""
    box = [float(cells.pop(name)) for name in ("x1", "y1", "x2", "y2") if cells[name]]
    values: dict[str, Any] = {
        name: value or None for name, value in cells.items() if name not in ("x1", "y1", "x2", "y2")
    }
    for name in ("distance", "detector_score", "threshold", "fmr_at_threshold"):
        values[name] = float(values[name]) if values[name] else None
    for name in ("face", "faces_found"):
        values[name] = int(values[name]) if values[name] else None
    is_face = values["face"] is not None
    values["box"] = box or None
    values["candidates"] = json.loads(values["candidates"]) if is_face else None
    values["quality_reasons"] = (values["quality_reasons"] or "").split(";") if is_face else None
    if values["quality_reasons"] == [""]:
        values["quality_reasons"] = []
    return values


@pytest.mark.slow
def test_what_is_there_is_not_overwritten(
    cli: CommandLine, probes: Path, staff: tuple[str, ...], tmp_path: Path
) -> None:
    output = tmp_path / "rows.jsonl"
    output.write_text("precious")
    run = ("identify", probes / "biden.jpg", *staff, "--output", output)
    assert cli.refusal(*run) == f"facesvc: {output} exists: --force replaces it [invalid_request]"
    assert cli.run(*run, "--resume").stderr.decode() == f"{output} is complete, there is nothing to resume\n"
    assert output.read_text() == "precious"
    assert cli.run(*run, "--force").returncode == 0
    assert [json.loads(line)["subject"] for line in output.read_text().splitlines()] == ["biden"]


@pytest.mark.slow
def test_runs_that_can_not_be_done(cli: CommandLine, probes: Path, staff: tuple[str, ...], tmp_path: Path) -> None:
    assert cli.refusal("identify", probes, "--gallery", "none", *staff[2:]).endswith("[gallery_not_found]")
    assert "use a name that ends with .jsonl, .csv, .parquet" in cli.refusal("identify", probes, *staff, "-o", "a.xls")
    assert cli.refusal("identify", "none/*.jpg", *staff) == "facesvc: nothing matches none/*.jpg [invalid_request]"
    assert "need --output" in cli.refusal("identify", probes, *staff, "--resume")
    output = tmp_path / "rows.jsonl"
    assert cli.refusal("identify", probes, *staff, "-o", output, "--threshold", 9).endswith("[invalid_threshold]")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_threshold_leaves_no_journal(cli: CommandLine, probes: Path, enrolled: object, tmp_path: Path) -> None:
    run = ("identify", probes, *STAFF, "--output", tmp_path / "rows.jsonl", "--threshold", 9)
    assert cli.refusal(*run).endswith("[invalid_threshold]")
    assert list(tmp_path.iterdir()) == []


def test_a_server_answers_the_same(
    cli: CommandLine, rows: list[dict[str, Any]], probes: Path, server: tuple[str, str]
) -> None:
    assert cli.lines("identify", probes, *STAFF, *server, code=1) == rows


@pytest.mark.slow
def test_commands_through_a_server(cli: CommandLine, samples: Path, probes: Path, server: tuple[str, str]) -> None:
    pair = (probes / "obama2.jpg", samples / "people" / "obama" / "obama.jpg")
    asked, local = cli.json("verify", *pair, *server), cli.json("verify", *pair)
    assert asked | {"timings_ms": None} == local | {"timings_ms": None}
    assert cli.json("galleries", "list", *server) == cli.json("galleries", "list")
    assert cli.json("subjects", "list", *STAFF, *server) == cli.json("subjects", "list", *STAFF)
    assert cli.refusal("verify", pair[0], probes / "no_face.jpg", *server) == (
        "facesvc: reference: no face was found in the photograph [no_face]"
    )
    assert cli.refusal("subjects", "show", "a/b", *STAFF, *server).startswith("facesvc: ")


@pytest.mark.slow
def test_enrolment_through_a_server(cli: CommandLine, enrolled: dict[str, Any], server: tuple[str, str]) -> None:
    remote = ("--gallery", "remote", *server)
    answer = cli.json("enrol-folder", enrolled["folder"], *remote, code=1)
    assert answer == {**{key: enrolled[key] for key in answer}, "gallery": "remote"}
    again = cli.json("enrol-folder", enrolled["folder"], *remote, code=1)
    assert (again["enrolled"], again["already_enrolled"]) == (0, 2)
    assert cli.json("subjects", "rename", "obama", "Barack Obama", *remote)["display_name"] == "Barack Obama"
    assert cli.run("subjects", "delete", "obama", "--yes", *remote).returncode == 0
    assert [subject["id"] for subject in cli.json("subjects", "list", *remote)] == ["biden"]
    assert cli.run("galleries", "delete", "remote", "--yes", *server).returncode == 0
    assert cli.refusal("galleries", "show", "remote", *server).endswith("[gallery_not_found]")


def test_no_server(cli: CommandLine, probes: Path) -> None:
    assert cli.refusal("galleries", "list", "--server", "ftp://somewhere").endswith(
        "http://127.0.0.1:8000 [invalid_request]"
    )
