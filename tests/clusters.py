"""Real Ray clusters of this machine, and their processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from facesvc.config import environment
from facesvc.pipeline.session import variables

WORKER, AT_WORK = "ray::Worker", "ray::Worker.run"
"""What processes of workers are called: idle, and with a photograph in work."""


@contextmanager
def cluster(cpus: int) -> Iterator[Any]:
    """``ray.cluster_utils.Cluster`` with a head node of so many CPUs; whatever runs meanwhile can connect to it."""
    if find_spec("ray") is None:
        pytest.skip("needs ray (ray extra)")
    with environment(variables(None)):
        from ray.cluster_utils import Cluster  # here: Ray reads the environment as it is imported

        started = Cluster(True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
        try:
            yield started
        finally:
            started.shutdown()


def named(name: str, ancestor: int | None = None) -> list[int]:
    """Processes below ``ancestor`` (this one) that are called ``name``."""
    found = {pid: parent for pid, parent in parents().items() if called(pid) == name}
    return [pid for pid in found if (ancestor or os.getpid()) in ancestors(pid)]


def ancestors(pid: int) -> Iterator[int]:
    known = parents()
    while pid in known:
        pid = known[pid]
        yield pid


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
