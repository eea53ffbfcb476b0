"""Batches of photographs that tests identify, disturb and compare with an undisturbed one."""

import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.support.commandline import CommandLine

STAFF = ("--gallery", "staff")
NAMES = ("people/obama/obama2.jpg", "people/biden/biden.jpg", "astronaut.png", "group.jpg", "no_face.jpg")


def enrol_obama(cli: CommandLine, samples: Path) -> None:
    """Enrol one subject in the gallery staff."""
    cli.json("enrol", samples / "people" / "obama" / "obama.jpg", "--subject", "obama", *STAFF)


def write_photographs(folder: Path, samples: Path, count: int, side: int) -> None:
    """Write ``count`` photographs, every eighth of them broken, the others of ``side`` pixels at the most."""
    for i in range(count):
        source = samples / NAMES[i % len(NAMES)]
        target = folder / f"{i:03}{source.suffix}"
        if i % 8 == 7:
            target.write_bytes(source.read_bytes()[:3000])
        elif i < len(NAMES):
            with Image.open(source) as photograph:
                photograph.thumbnail((side, side))
                photograph.save(target)
        else:
            shutil.copy(folder / f"{i % len(NAMES):03}{source.suffix}", target)


def identify_undisturbed(cli: CommandLine, photographs: Path, output: Path) -> bytes:
    """Return what a run that nothing disturbs writes to ``output``, after a look at what is in it."""
    assert cli.run("identify", photographs, *STAFF, "--output", output).returncode == 1
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert list(dict.fromkeys(row["path"] for row in rows)) == sorted(map(str, photographs.iterdir()))
    assert {row["subject"] for row in rows} == {"obama", None}
    assert {row["code"] for row in rows} == {"corrupt_image", "no_face", None}
    return output.read_bytes()


def wait_for(process: subprocess.Popen[bytes], output: Path, files: int) -> None:
    """Return as soon as the run's journal holds ``files`` files; fail the test if the run ends before."""
    journal = Path(f"{output}.partial")
    while not journal.exists() or journal.read_bytes().count(b"\n") <= files:
        require_running(process)


def require_running(process: subprocess.Popen[bytes]) -> None:
    """Wait a moment; fail the test if the process has ended. Its stderr must be a pipe."""
    assert process.stderr is not None
    with suppress(subprocess.TimeoutExpired):
        code = process.wait(0.01)
        pytest.fail(f"the run ended with {code} before it could be disturbed: {process.stderr.read().decode()}")
