"""A batch on a Ray cluster whose workers, nodes or own process are killed ends with the bytes of an undisturbed one."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from facesvc.pipeline.ray import SHORT
from tests.support.batches import STAFF, enrol_obama, identify_undisturbed, require_running, wait_for, write_photographs
from tests.support.clusters import AT_WORK, WORKER, below, called, cluster, further_node, kill_all, named, parents
from tests.support.commandline import CommandLine

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow, pytest.mark.timeout(600)]  # clusters start slowly

FILES = 60


@pytest.fixture(scope="module")
def cli(cli: CommandLine, samples: Path) -> CommandLine:
    """With one subject enrolled."""
    enrol_obama(cli, samples)
    return cli


@pytest.fixture(scope="module")
def probes(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FILES photographs, large enough for a worker to be met at work."""
    folder = tmp_path_factory.mktemp("probes")
    write_photographs(folder, samples, FILES, 800)
    return folder


@pytest.fixture(scope="module")
def whole(cli: CommandLine, probes: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The output of a run that nothing disturbs, without a cluster."""
    return identify_undisturbed(cli, probes, tmp_path_factory.mktemp("whole") / "rows.jsonl")


def start(cli: CommandLine, probes: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    """A run in a process group of its own, as a shell starts it."""
    command = cli.command("identify", probes, *STAFF, "--output", output, "--engine", "ray", *options)
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **heed)


def kill_at_work(process: subprocess.Popen[bytes], ancestor: int) -> None:
    """Kills a worker with a photograph in work, below ``ancestor``: stopped first, so that it still has it."""
    while (pid := stopped_at_work(ancestor)) is None:
        require_running(process)
    os.kill(pid, signal.SIGKILL)


def kill_node_at_work(process: subprocess.Popen[bytes], node: int) -> None:
    """Kills a node whose worker has a photograph in work. Other nodes' workers rest until then: they might end the run
    before this one has begun."""
    others = workers() - workers(node)
    try:
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        while stopped_at_work(node) is None:
            require_running(process)
        kill_all(node)
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def stopped_at_work(ancestor: int) -> int | None:
    """A worker below ``ancestor`` that was stopped with a photograph in work."""
    for pid in named(AT_WORK, ancestor):
        os.kill(pid, signal.SIGSTOP)
        if pid in named(AT_WORK, ancestor):
            return pid
        os.kill(pid, signal.SIGCONT)
    return None


def workers(node: int | None = None) -> set[int]:
    return {*named(WORKER, node), *named(AT_WORK, node)}


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and what was said; nothing of Ray's may be on stdout, which is for results."""
    printed, said = process.communicate(timeout=200)
    assert printed == b""
    return process.returncode, said.decode()


def test_workers_killed(cli: CommandLine, probes: Path, whole: bytes, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    process = start(cli, probes, output, "--workers", "2")
    for files in (5, 20, 35):
        wait_for(process, output, files)
        kill_at_work(process, process.pid)
    code, said = end(process)
    assert (code, output.read_bytes()) == (1, whole)
    assert said.count("a worker of the cluster was lost (ActorDiedError), another one takes its place\n") == 3
    assert f"{FILES} files, " in said


def test_run_interrupted_and_killed(cli: CommandLine, probes: Path, whole: bytes, tmp_path: Path) -> None:
    """Ctrl-C reaches all processes of the terminal, and none is left behind; kill -9 is only for the run's. Then
    Ray's agents, who never see a photograph, look for their cluster for a minute before they go."""
    output = tmp_path / "rows.jsonl"
    process = start(cli, probes, output, "--workers", "2")
    wait_for(process, output, 8)
    family = below(process.pid)
    assert len(family) > 4
    os.killpg(process.pid, signal.SIGINT)
    code, said = end(process)
    assert code == 130
    assert said.endswith(f" files, kept in {output}.partial: the same command with --resume continues\n")
    assert "Traceback" not in said
    wait_until_gone(family)

    before = set(Path(SHORT).glob("ray-*"))
    process = start(cli, probes, output, "--workers", "2", "--resume")
    wait_for(process, output, 30)
    family = {pid for pid in below(process.pid) if not called(pid).endswith("Agent")}
    process.kill()
    assert end(process)[0] == -signal.SIGKILL
    wait_until_gone(family)
    for folder in set(Path(SHORT).glob("ray-*")) - before:  # sockets and logs, which nobody was left to remove
        shutil.rmtree(folder, ignore_errors=True)

    assert cli.run("identify", probes, *STAFF, "--output", output, "--resume").returncode == 1
    assert output.read_bytes() == whole


def wait_until_gone(processes: set[int]) -> None:
    """Within the test's time limit."""
    while processes & set(parents()):
        pass


def test_node_killed(cli: CommandLine, probes: Path, whole: bytes, tmp_path: Path) -> None:
    """One of two nodes goes with its worker; the cluster itself outlives the run."""
    output = tmp_path / "rows.jsonl"
    with cluster(1) as address, further_node(address) as node:
        process = start(cli, probes, output, "--ray-address", address, "--workers", "2")
        wait_for(process, output, 5)
        kill_node_at_work(process, node)
        code, said = end(process)
        assert (code, output.read_bytes()) == (1, whole)
        assert "a worker of the cluster was lost" in said
        again = cli.run("identify", probes / "000.jpg", *STAFF, "--engine", "ray", "--ray-address", address)
        assert again.returncode == 0
