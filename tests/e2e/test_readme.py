"""The README's commands, run as they stand against a live service, in order."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live import serve, served_settings

pytestmark = pytest.mark.xdist_group("readme")  # one worker: what they share is started once

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh run\n(.*?)```", README, re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, samples: Path, default_packs: Path) -> dict[str, str]:
    """What each command printed; all of them must end well."""
    if not shutil.which("curl"):
        pytest.fail("the README's commands need curl")
    home = tmp_path_factory.mktemp("newcomer")
    (home / "samples").symlink_to(samples)
    settings = served_settings(home / "data", default_packs)
    with serve(settings) as live:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FACESVC_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FACESVC_DATA": str(settings.data),
        }
        return {command: run(command, live.url, home, environment) for command in COMMANDS}


def run(command: str, url: str, home: Path, environment: dict[str, str]) -> str:
    here = command.replace("http://127.0.0.1:8000", url).replace("curl ", "curl -sS --fail ", 1)
    done = subprocess.run(["bash", "-c", here], cwd=home, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + ((home / "who.jsonl").read_text() if "who.jsonl" in command else "")


def answer(answers: dict[str, str], *words: str) -> str:
    """What the first command with all of these words printed."""
    return next(printed for command, printed in answers.items() if all(word in command for word in words))


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 12


def test_one_person_matches_and_two_do_not(answers: dict[str, str]) -> None:
    assert json.loads(answer(answers, "curl", "/v1/verify", "obama2"))["match"] is True
    assert json.loads(answer(answers, "curl", "/v1/verify", "biden"))["match"] is False


def test_enrolled_people_are_found_on_the_group(answers: dict[str, str]) -> None:
    assert json.loads(answer(answers, "images=@"))["enrolled"] == 2
    faces = json.loads(answer(answers, "/v1/identify"))["faces"]
    assert sorted(face["decision"] for face in faces) == ["match", "unknown", "unknown"]
    assert {c["subject"] for face in faces for c in face["candidates"] if c["match"]} == {"obama"}


def test_the_command_line_says_the_same(answers: dict[str, str]) -> None:
    assert "match" in answer(answers, "facesvc verify").lower()
    rows = [json.loads(line) for line in answer(answers, "facesvc identify").splitlines()]
    found = {Path(row["path"]).name: row["subject"] for row in rows if "people" in row["path"]}
    assert found == {"biden.jpg": "biden", "obama.jpg": "obama", "obama2.jpg": "obama", "obama3.jpg": "obama"}
