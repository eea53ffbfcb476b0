"""Real Ray clusters of this machine, and their processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from facesvc.config import environment
from facesvc.pipeline.ray import SHORT, variables

WORKER, AT_WORK = "ray::Worker", "ray::Worker.run"
"""What processes of workers are called: idle, and with a photograph in work."""


HEAD = """
import sys, ray
node = ray.init("local", num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[2])
print(node.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@contextmanager
def cluster(cpus: int) -> Iterator[str]:
    """Address of a cluster whose head node has so many CPUs; whatever runs meanwhile can connect to it."""
    if find_spec("ray") is None:
        pytest.skip("needs ray (ray extra)")
    with environment(variables(None)), TemporaryDirectory(prefix="ray-", dir=SHORT) as folder:
        command = [sys.executable, "-c", HEAD, str(cpus), folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as head:
            assert head.stdin is not None
            assert head.stdout is not None
            try:
                yield head.stdout.readline().strip()
            finally:
                head.stdin.close()


@contextmanager
def further_node(address: str) -> Iterator[int]:
    """A node with one CPU; yields the process that all of the node is below, and kills what is left of it."""
    program = Path(sys.executable).with_name("ray")
    command = [program, "start", "--address", address, "--num-cpus", "1", "--block"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as node:
        try:
            yield node.pid
        finally:
            kill_all(node.pid)


def kill_all(ancestor: int) -> None:
    for pid in (ancestor, *below(ancestor)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def below(ancestor: int) -> set[int]:
    """All processes that descend from this one."""
    known = parents()
    found = {ancestor}
    while more := {child for child, parent in known.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def named(name: str, ancestor: int | None = None) -> list[int]:
    """Processes below ``ancestor`` (this one) that are called ``name``."""
    return [pid for pid in below(ancestor or os.getpid()) if called(pid) == name]


def parents() -> dict[int, int]:
    """Process -> its parent, of all that live."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
            if state not in "ZX":
                found[int(stat.parent.name)] = int(parent)
    return found


def called(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""
