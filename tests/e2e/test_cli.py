"""`facesvc` on real photographs, one process a command."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from facesvc import __version__
from facesvc.models.packs import DEFAULT_PACK, network_file
from tests.support.commandline import CommandLine

pytestmark = pytest.mark.xdist_group("cli")  # one worker: the enrolled gallery is made once


@pytest.fixture(scope="module")
def server(cli: CommandLine) -> Iterator[tuple[str, str]]:
    """The option that asks a server over the same data folder: what is no matter of the local store is tested
    through it, since a client loads no models."""
    with cli.serving() as url:
        yield "--server", url


@pytest.fixture(scope="module")
def obama(samples: Path) -> list[Path]:
    return [samples / "people" / "obama" / name for name in ("obama.jpg", "obama2.jpg", "obama3.jpg")]


@pytest.fixture(scope="module")
def biden(samples: Path) -> Path:
    return samples / "people" / "biden" / "biden.jpg"


# --- verify -------------------------------------------------------------------------------------------


def test_verify_one_person(cli: CommandLine, obama: list[Path]) -> None:
    found = cli.json("verify", obama[0], obama[1])
    assert (found["match"], found["decision"], found["threshold"]) == (True, "match", 1.1)
    assert found["distance"] == pytest.approx(0.424, abs=0.01)
    assert found["similarity"] == pytest.approx(1 - found["distance"] / 2)
    assert [found[source]["faces_found"] for source in ("probe", "reference")] == [1, 1]


def test_verify_two_people(cli: CommandLine, obama: list[Path], biden: Path) -> None:
    found = cli.json("verify", obama[0], biden, code=1)
    assert (found["match"], found["decision"]) == (False, "no_match")
    assert found["distance"] == pytest.approx(1.865, abs=0.01)


@pytest.mark.slow
def test_verify_for_people(cli: CommandLine, obama: list[Path]) -> None:
    done = cli.run("verify", obama[0], obama[1])
    verdict, score, probe, reference = done.stdout.decode().splitlines()
    assert verdict == "match: one person"
    assert score.startswith("distance 0.4")
    assert "threshold 1.1 (" in score
    assert "false match rate" in score
    assert probe == "probe: quality good, 1 face(s) found"
    assert reference == "reference: quality good, 1 face(s) found"


@pytest.mark.slow
def test_verify_with_a_threshold_of_ones_own(cli: CommandLine, obama: list[Path], server: tuple[str, str]) -> None:
    found = cli.json("verify", obama[0], obama[1], "--threshold", 0.05, *server, code=1)
    assert (found["decision"], found["threshold"]) == ("no_match", 0.05)


def test_verify_from_stdin(cli: CommandLine, obama: list[Path], server: tuple[str, str]) -> None:
    done = cli.run("verify", "--json", "-", obama[0], *server, stdin=obama[0].read_bytes())
    assert (done.returncode, json.loads(done.stdout)["distance"]) == (0, 0.0)


@pytest.mark.slow
def test_verify_errors_are_one_line(cli: CommandLine, samples: Path, obama: list[Path]) -> None:
    assert cli.refusal("verify", obama[0], samples / "no_face.jpg") == (
        "facesvc: reference: no face was found in the photograph [no_face]"
    )
    assert cli.refusal("verify", obama[0], "none.jpg") == (
        "facesvc: reference none.jpg: No such file or directory [file_unreadable]"
    )
    assert cli.refusal("verify", "-", "-").endswith("can come from stdin [invalid_request]")
    assert cli.refusal("verify", obama[0], obama[1], "--threshold", 9).endswith("[invalid_threshold]")


@pytest.mark.slow
def test_verify_errors_of_a_server(
    cli: CommandLine, samples: Path, obama: list[Path], tmp_path: Path, server: tuple[str, str]
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no photograph")
    assert cli.refusal("verify", text, obama[0], *server) == (
        "facesvc: probe: the file is of no known image format [not_an_image]"
    )
    assert cli.refusal("verify", obama[0], samples / "no_face.jpg", *server) == (
        "facesvc: reference: no face was found in the photograph [no_face]"
    )
    several = cli.refusal("verify", obama[0], samples / "group.jpg", "--face", "only", *server)
    assert several == "facesvc: reference: 3 faces found where one was expected [several_faces]"
    assert cli.refusal("verify", obama[0], obama[1], "--threshold", 9, *server).endswith("[invalid_threshold]")


# --- root -----------------------------------------------------------------------------------------------


def test_version(cli: CommandLine) -> None:
    assert cli.run("--version").stdout == f"facesvc {__version__}\n".encode()


def test_settings_that_are_not_valid(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "facesvc.toml").write_text("port = 99999\nworkers = 1\n")
    done = cli.run("galleries", "list", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "facesvc: setting port: input should be less than or equal to 65535 [invalid_request]\n"
    )
    (tmp_path / "facesvc.toml").write_text("port =")
    assert cli.run("galleries", "list", cwd=tmp_path).stderr.decode().startswith("facesvc: facesvc.toml: ")


@pytest.mark.slow
def test_a_data_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert CommandLine(tmp_path / "file" / "data").refusal("galleries", "list") == (
        f"facesvc: {tmp_path}/file/data: Not a directory [internal_error]"
    )


def test_a_database_out_of_reach(cli: CommandLine) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    assert cli.refusal("--database-url", url, "galleries", "list").endswith("[store_unavailable]")


@pytest.mark.slow
def test_a_pack_that_is_unknown(cli: CommandLine) -> None:
    assert cli.refusal("--pack", "none", "galleries", "create", "staff").endswith("[pack_not_found]")


# --- galleries, subjects, enrol -----------------------------------------------------------------------------


@pytest.mark.slow
def test_galleries(cli: CommandLine, server: tuple[str, str]) -> None:
    made = cli.json("galleries", "create", "night shift", "--keep-photographs", *server)
    assert {key: made[key] for key in ("name", "keep_photographs", "subjects", "references")} == {
        "name": "night shift",
        "keep_photographs": True,
        "subjects": 0,
        "references": 0,
    }
    assert cli.refusal("galleries", "create", "night shift", *server).endswith("[gallery_exists]")
    assert "night shift" in [gallery["name"] for gallery in cli.json("galleries", "list", *server)]
    assert cli.json("galleries", "show", "night shift", *server) == made
    assert "deleting needs --yes" in cli.run("galleries", "delete", "night shift", *server).stderr.decode()
    assert cli.json("galleries", "show", "night shift", *server) == made
    assert cli.run("galleries", "delete", "night shift", "--yes", *server).returncode == 0
    assert cli.refusal("galleries", "show", "night shift", *server).endswith("[gallery_not_found]")


@pytest.mark.slow
def test_enrol_and_subjects(cli: CommandLine, obama: list[Path], samples: Path, server: tuple[str, str]) -> None:
    option = ("--gallery", "people", *server)
    answer = cli.json("enrol", *obama[:2], samples / "group.jpg", "none.jpg", "--subject", "44", *option, code=1)
    assert [result["status"] for result in answer["results"]] == ["enrolled", "enrolled", "rejected", "rejected"]
    assert [result.get("code") for result in answer["results"]] == [None, None, "several_faces", "file_unreadable"]
    assert [result["path"] for result in answer["results"][:2]] == [str(path) for path in obama[:2]]
    assert [(s["id"], s["references"]) for s in cli.json("subjects", "list", *option)] == [("44", 2)]
    assert cli.json("subjects", "rename", "44", "Barack Obama", *option)["display_name"] == "Barack Obama"
    shown = cli.json("subjects", "show", "44", *option)
    assert shown["display_name"] == "Barack Obama"
    assert [reference["id"] for reference in shown["references"]] == [
        result["reference"] for result in answer["results"][:2]
    ]
    table = cli.run("subjects", "list", *option).stdout.decode().split("\t")
    assert table[:3] == ["44", "Barack Obama", "2"]
    assert cli.run("subjects", "delete", "44", "--yes", *option).returncode == 0
    assert cli.refusal("subjects", "show", "44", *option).endswith("[subject_not_found]")


@pytest.mark.slow
def test_low_quality_is_refused_unless_allowed(
    cli: CommandLine, obama: list[Path], tmp_path: Path, server: tuple[str, str]
) -> None:
    dark = tmp_path / "dark.png"
    with Image.open(obama[0]) as photograph:
        ImageEnhance.Brightness(photograph).enhance(1 / 12).save(dark)
    arguments = ("enrol", dark, "--gallery", "dark", "--subject", "44", *server)
    refused = cli.json(*arguments, code=1)["results"][0]
    assert refused["status"] == "rejected"
    assert "face too dark" in refused["detail"]
    allowed = cli.json(*arguments, "--allow-low-quality")["results"][0]
    assert allowed["status"] == "enrolled"
    assert "face_too_dark" in allowed["quality"]["reasons"]


# --- service ----------------------------------------------------------------------------------------------


def test_serve_refuses_a_taken_port(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.refusal("serve", "--port", port) == (
            f"facesvc: can't listen on 127.0.0.1 port {port}: address already in use; "
            "try another with --port, or --port 0 [invalid_request]"
        )


def test_samples(cli: CommandLine, samples: Path, obama: list[Path]) -> None:
    paths = cli.json("samples", "--folder", samples)
    assert {str(path) for path in obama} < set(paths)


@pytest.mark.slow
def test_doctor_finds_all_well(cli: CommandLine, samples: Path) -> None:
    cli.json("galleries", "list")  # makes the database
    findings = {found["check"]: found for found in cli.json("doctor", "--samples", samples)}
    assert {found["check"] for found in findings.values() if found["status"] == "fail"} == set()
    checked = ("Python", "data folder", "model pack", "database", "master key", "verification")
    assert [findings[check]["status"] for check in checked] == ["ok"] * 6
    assert findings["verification"]["detail"].startswith("one person at 0.4")


@pytest.mark.slow
def test_doctor_says_what_to_do(cli: CommandLine, tmp_path: Path, samples: Path) -> None:
    """A damaged pack and a database that is none."""
    (tmp_path / "packs").mkdir()
    os.symlink(cli.data / "packs" / "detectors", tmp_path / "packs" / "detectors")
    pack = shutil.copytree(cli.data / "packs" / DEFAULT_PACK, tmp_path / "packs" / DEFAULT_PACK)
    (pack / network_file(0)).write_bytes(b"damaged")
    (tmp_path / "facesvc.db").write_bytes(b"no database" * 1000)
    findings = {found["check"]: found for found in CommandLine(tmp_path).json("doctor", code=1)}
    assert findings["model pack"]["status"] == "fail"
    assert findings["model pack"]["detail"].endswith("[pack_damaged]")
    assert findings["model pack"]["advice"] == f"build it: facesvc models build {DEFAULT_PACK}"
    assert findings["database"]["status"] == "fail"
    assert "verification" not in findings
