"""An aligned set whose making is killed, wherever that is, ends with the bytes of one that nothing disturbed."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

FILES = 64
KILLER = """
import os, shutil, signal, sys
from itertools import count
from training import aligned

start, arguments = sys.argv[1], sys.argv[2:]

def run(output, left):
    # In a process of its own, which is killed with the left-th thing it does to a file of its output
    if process := os.fork():
        return os.waitpid(process, 0)[1]
    def watch(event, values):
        nonlocal left
        if event in ("open", "os.rename", "os.remove", "os.truncate") and output in str(values[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    sys.argv = ["aligned", *arguments, "--output", output]
    aligned.main()
    sys.stdout.flush()
    os._exit(0)

for step in count(1):
    output = shutil.copytree(start, f"{start}-killed-{step}")
    killed = run(output, step)
    assert killed in (0, signal.SIGKILL), killed
    assert run(output, -1) == 0
    if not killed:
        break
"""
"""Runs training.aligned on copies of a folder, killed at its first, second, ... step, and each again to its end."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, packs_folder: Path) -> dict[str, str]:
    data = tmp_path_factory.mktemp("data")
    (data / "packs").symlink_to(packs_folder)
    own = {name: value for name, value in os.environ.items() if not name.startswith("FACESVC_")}
    return {**own, "FACESVC_DATA": str(data)}


@pytest.fixture
def people(samples: Path, tmp_path: Path) -> Path:
    """Small photographs of two people, some broken."""
    names = ("obama/obama.jpg", "obama/obama2.jpg", "biden/biden.jpg")
    for i in range(FILES):
        source = samples / "people" / names[i % 3]
        target = tmp_path / "people" / source.parent.name / f"{i:03}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if i % 8 == 7:
            target.write_bytes(source.read_bytes()[:3000])
            continue
        with Image.open(source) as photograph:
            photograph.thumbnail((300, 300))
            photograph.save(target)
    return tmp_path / "people"


def command(people: Path) -> list[str]:
    return [str(people), "--size", "64", "--workers", "1"]


def run(people: Path, output: Path, environment: dict[str, str]) -> dict[str, bytes]:
    """A run to the end, and what it leaves."""
    program = [sys.executable, "-m", "training.aligned", *command(people), "--output", str(output)]
    done = subprocess.run(program, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return contents(output)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.slow
def test_killed_in_the_middle(people: Path, environment: dict[str, str], tmp_path: Path) -> None:
    whole = run(people, tmp_path / "whole", environment)
    assert len(whole["chips-0.u8"]) == FILES * 7 // 8 * 64 * 64 * 3
    program = [sys.executable, "-m", "training.aligned", *command(people), "--output", str(tmp_path / "killed")]
    ledger = tmp_path / "killed" / "ledger.jsonl"
    process = subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)
    while not ledger.exists() or ledger.read_bytes().count(b"\n") <= 16:
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"the run ended with {process.wait(0.01)} before it could be killed")
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "manifest.json").exists()
    done = ledger.read_bytes()
    assert run(people, tmp_path / "killed", environment) == whole
    assert ledger.read_bytes().startswith(done[: done.rindex(b"\n")]), "what was done was kept"


@pytest.mark.slow
@pytest.mark.parametrize("changed", [False, True], ids=["first run", "after a change"])
def test_killed_at_every_step(changed: bool, people: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """After a change: a photograph is gone and another is new, so that everything is put in a new order."""
    for file in sorted(people.rglob("*.jpg"))[20:]:
        file.unlink()
    start = tmp_path / "start"
    start.mkdir()
    if changed:
        run(people, start, environment)
        (people / "biden" / "002.jpg").rename(people / "biden" / "000.jpg")
    whole = run(people, shutil.copytree(start, tmp_path / "whole"), environment)
    program = [sys.executable, "-c", KILLER, str(start), *command(people)]
    done = subprocess.run(program, env=environment, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()
    results = [contents(folder) for folder in tmp_path.glob("start-killed-*")]
    assert len(results) > 10
    assert all(result == whole for result in results)
