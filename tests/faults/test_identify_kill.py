"""A batch identification that is killed, torn or interrupted ends, resumed, with the bytes of an undisturbed one."""

import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.batches import STAFF, enrol_obama, identify_undisturbed, wait_for, write_photographs
from tests.support.commandline import CommandLine

pytestmark = [pytest.mark.xdist_group("cli-kill"), pytest.mark.slow]

FILES = 120


@pytest.fixture(scope="module")
def cli(cli: CommandLine, samples: Path) -> CommandLine:
    """With one subject enrolled."""
    enrol_obama(cli, samples)
    return cli


@pytest.fixture(scope="module")
def probes(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FILES photographs, small so that many are done in a second."""
    folder = tmp_path_factory.mktemp("probes")
    write_photographs(folder, samples, FILES, 480)
    return folder


@pytest.fixture(scope="module")
def whole(cli: CommandLine, probes: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The output of a run that nothing disturbs."""
    return identify_undisturbed(cli, probes, tmp_path_factory.mktemp("whole") / "rows.jsonl")


def start(cli: CommandLine, probes: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    command = cli.command("identify", probes, *STAFF, "--output", output, "--workers", 2, *options)
    return subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed_interrupts)


def heed_interrupts() -> None:
    """A shell without job control starts its background jobs, such as this test run, with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, said = process.communicate(timeout=120)
    return process.returncode, said.decode()


def test_killed_again_and_again(cli: CommandLine, probes: Path, whole: bytes, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    for files in sorted(random.sample(range(1, FILES - 12), 3)):
        process = start(cli, probes, output, "--resume")
        wait_for(process, output, files)
        process.send_signal(signal.SIGKILL)
        assert end(process)[0] == -signal.SIGKILL
        assert not output.exists()
    done = end(start(cli, probes, output, "--resume"))
    assert (done[0], output.read_bytes()) == (1, whole)
    assert done[1].startswith(f"{FILES} files, ")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_torn_journal(cli: CommandLine, probes: Path, whole: bytes, tmp_path: Path) -> None:
    """What a power failure may leave: half a line, or a block of zeros. Both are done again."""
    output, journal = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.partial"
    process = start(cli, probes, output)
    wait_for(process, output, 9)
    process.kill()
    end(process)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:6]) + lines[6][:-20] + b"\0" * 512)
    assert end(start(cli, probes, output, "--resume"))[0] == 1
    assert output.read_bytes() == whole


def test_interrupted(cli: CommandLine, probes: Path, whole: bytes, tmp_path: Path) -> None:
    """Ctrl-C says how to go on; a second run meanwhile is refused; changed options are too."""
    output = tmp_path / "rows.jsonl"
    run = ("identify", probes, *STAFF, "--output", output)
    process = start(cli, probes, output)
    wait_for(process, output, 3)
    process.send_signal(signal.SIGSTOP)
    assert cli.refusal(*run, "--resume") == (f"facesvc: another run is writing {output}.partial [invalid_request]")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    code, said = end(process)
    assert code == 130
    assert said.startswith("stopped after ")
    assert said.endswith(f" files, kept in {output}.partial: the same command with --resume continues\n")
    journal = Path(f"{output}.partial").read_bytes()

    refused = cli.refusal(*run)
    assert refused.startswith(f"facesvc: {output}.partial is there from an interrupted run: --resume continues it")
    refused = cli.refusal(*run, "--resume", "--top-k", 3, "--threshold", 1.0)
    assert "can't be resumed: top_k was 5, is 3; threshold was 1.1, is 1.0. --force starts over" in refused
    refused = cli.refusal("identify", probes / "001.jpg", *STAFF, "--output", output, "--resume")
    assert f"file 1 was '{probes}/000.jpg', is '{probes}/001.jpg'" in refused
    assert Path(f"{output}.partial").read_bytes() == journal

    assert end(start(cli, probes, output, "--resume"))[0] == 1
    assert output.read_bytes() == whole
