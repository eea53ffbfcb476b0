"""A process that has opened and closed networks still gets its signals: they end a service in order, not in a crash."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from facesvc.models.packs import network_file

PROGRAM = """
import os, signal, sys
from pathlib import Path
from facesvc.models.network import open_network

signal.signal(signal.SIGTERM, lambda number, frame: print("asked to end"))
first, second = (open_network(Path(sys.argv[1]), sys.argv[2]) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
"""
"""In this order OpenVINO leaves the thread that compiled the two with a signal stack that is no longer there."""


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_signal_reaches_its_handler_after_networks_were_closed(
    runtime: str, locked_build: Callable[[str], Path]
) -> None:
    network = locked_build("sface") / "sface" / network_file(0)
    command = [sys.executable, "-c", PROGRAM, str(network), runtime]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("asked to end\n", 0), done.stderr
