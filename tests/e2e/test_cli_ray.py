"""`--engine ray` does what the same command does without it, on clusters of its own and on running ones."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesvc.bootstrap import open_service
from facesvc.config import Settings
from tests.support.clusters import cluster
from tests.support.commandline import CommandLine

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow, pytest.mark.timeout(600)]  # clusters start slowly

STAFF = ("--gallery", "staff")


@pytest.fixture(scope="module")
def cli(cli: CommandLine, samples: Path) -> CommandLine:
    """With two subjects enrolled."""
    for name in ("obama", "biden"):
        cli.json("enrol", samples / "people" / name / f"{name}.jpg", "--subject", name, *STAFF)
    return cli


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster(2) as running:
        yield running


def test_results_alone_on_stdout(cli: CommandLine, probes: Path) -> None:
    """On a cluster of the run's own."""
    here = cli.run("identify", probes, *STAFF)
    there = cli.run("identify", probes, *STAFF, "--engine", "ray", "--workers", 2)
    assert (there.returncode, there.stdout) == (1, here.stdout)
    told, rate = there.stderr.decode().split("; not processed: ")
    assert told == here.stderr.decode().split("; not processed: ")[0]
    assert (rate.count("\n"), rate.endswith(" faces/s\n")) == (1, True)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_the_same_file(cli: CommandLine, probes: Path, address: str, tmp_path: Path, ending: str) -> None:
    here, there = tmp_path / f"here.{ending}", tmp_path / f"there.{ending}"
    assert cli.run("identify", probes, *STAFF, "--output", here).returncode == 1
    done = cli.run("identify", probes, *STAFF, "--output", there, "--engine", "ray", "--ray-address", address)
    assert (done.returncode, done.stdout) == (1, b"")
    assert there.read_bytes() == here.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [here.name, there.name]


def test_the_same_references(
    cli: CommandLine, samples: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is named in the environment, as Ray's own programs have it."""
    people = tmp_path / "people"
    shutil.copytree(samples / "people", people)
    shutil.copy(samples / "group.jpg", people / "biden" / "group.jpg")
    here = cli.json("enrol-folder", people, "--gallery", "here", code=1)
    monkeypatch.setenv("RAY_ADDRESS", address)
    there = cli.json("enrol-folder", people, "--gallery", "there", "--engine", "ray", code=1)
    assert there == here | {"gallery": "there"}
    assert (there["enrolled"], [outcome["code"] for outcome in there["rejected"]]) == (4, ["several_faces"])
    again = cli.json("enrol-folder", people, "--gallery", "there", "--engine", "ray", code=1)
    assert (again["enrolled"], again["already_enrolled"]) == (0, 4)
    assert templates(cli, "there") == templates(cli, "here")


def templates(cli: CommandLine, gallery: str) -> dict[tuple[str, str], list[float]]:
    """Vectors by subject and photograph."""
    with open_service(Settings(data=cli.data)) as service:
        references = [
            r for name in ("biden", "obama") for r in service.resources.store.references.list(gallery, name, 100).items
        ]
    return {(r.subject, r.image_sha256): r.sample.template.vector.tolist() for r in references}


def test_what_is_refused(cli: CommandLine, probes: Path) -> None:
    run = ("identify", probes, *STAFF)
    assert cli.refusal(*run, "--engine", "ray", "--server", "http://127.0.0.1:1") == (
        "facesvc: --engine ray works on the local store: a server has workers of its own [invalid_request]"
    )
    assert cli.refusal(*run, "--ray-address", "127.0.0.1:1") == (
        "facesvc: --ray-address needs --engine ray [invalid_request]"
    )
    assert cli.refusal(*run, "--engine", "ray", "--ray-address", "127.0.0.1:1") == (
        "facesvc: Ray cluster 127.0.0.1:1: [Errno 111] Connection refused [cluster_unavailable]"
    )


def test_without_ray() -> None:
    program = "import sys; sys.modules['ray'] = None\nfrom facesvc.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "identify", "a.jpg", *STAFF, "--engine", "ray"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        "facesvc: Ray is not installed: pip install 'facesvc[ray]' [invalid_request]\n",
    )
