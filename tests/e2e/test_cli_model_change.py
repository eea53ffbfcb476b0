"""`facesvc galleries model`: a gallery of the local store moves to another pack, as its operator does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commandline import CommandLine

PACK = ("--pack", "sface")
MODEL = ("galleries", "model")


pytestmark = pytest.mark.xdist_group("cli-model-change")  # one worker: the gallery is enrolled once


@pytest.fixture(scope="module")
def cli(cli: CommandLine, samples: Path, locked_build: Callable[[str], Path]) -> CommandLine:
    """With the pack sface in use, a gallery "staff" that keeps photographs, and fusion built."""
    locked_build("fusion")
    locked_build("sface")
    cli.json(*PACK, "galleries", "create", "staff", "--keep-photographs")
    cli.json(*PACK, "enrol-folder", samples / "people", "--gallery", "staff")
    return cli


@pytest.mark.slow
def test_the_way_of_a_gallery(cli: CommandLine, samples: Path) -> None:
    def model(command: str, *arguments: object) -> Any:
        return cli.json(*PACK, *MODEL, command, "staff", *arguments)

    started = model("start", "--to", "fusion")
    assert (started["missing"], started["other"]["state"]) == (4, "filling")
    before = started["template_version"]
    assert cli.refusal(*PACK, *MODEL, "cut-over", "staff").endswith("[model_change_incomplete]")
    done = model("run")
    assert (done["missing"], done["other"]["templates"], done["template_version"]) == (
        0, 4, before,
    )  # fmt: skip
    said = cli.run(*PACK, *MODEL, "agreement", "staff").stdout.decode().splitlines()
    assert said[0] == "4 references, thresholds 1.1 and 1.1"
    assert said[1].split("\t")[:6] == ["mated", "3", "0", "0", "0", "0.00%"]
    assert model("cut-over")["template_version"] == started["other"]["template_version"]
    (row,) = cli.lines(*PACK, "identify", samples / "people" / "biden" / "biden.jpg", "--gallery", "staff")
    assert (row["subject"], row["template_version"]) == ("biden", started["other"]["template_version"])
    assert model("roll-back")["template_version"] == before
    model("cut-over")
    assert "deleting needs --yes" in cli.run(*PACK, *MODEL, "finish", "staff").stderr.decode()
    assert model("finish", "--yes")["other"] is None
    shown = cli.run(*PACK, *MODEL, "status", "staff").stdout.decode().splitlines()
    assert shown == [f"answers: {started['other']['template_version']}, 4 of 4 references", "no change under way"]


@pytest.mark.slow
def test_who_can_not_come_along(cli: CommandLine, samples: Path) -> None:
    cli.json(*PACK, "galleries", "create", "guests")
    cli.json(*PACK, "enrol", samples / "people" / "biden" / "biden.jpg", "--gallery", "guests", "--subject", "joe")
    cli.json(*PACK, *MODEL, "start", "guests", "--to", "fusion")
    assert cli.json(*PACK, *MODEL, "run", "guests", code=1)["missing"] == 1
    listed = cli.run(*PACK, *MODEL, "left-behind", "guests")
    assert listed.stdout.decode().split("\t")[1:] == ["joe", "photograph_not_found\n"]
    assert listed.stderr.decode() == "1 references\n"
    assert cli.json(*PACK, *MODEL, "abandon", "guests", "--yes")["other"] is None
