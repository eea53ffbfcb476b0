"""The first inferences of a process may come from several threads at once."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from facesvc.models.packs import network_file

PROGRAM = """
import sys, threading
from pathlib import Path
import numpy as np
from facesvc.models.network import open_network

network = open_network(Path(sys.argv[1]), sys.argv[2])
sys.setswitchinterval(1e-6)  # threads change places as often as they can
start, outputs = threading.Barrier(4), []

def infer():
    start.wait()
    outputs.append(network(np.zeros((1, 3, 112, 112), np.float32))[0])

threads = [threading.Thread(target=infer) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print([bool(np.array_equal(output, outputs[0])) for output in outputs])
"""
ROUNDS = 4
"""Without its precaution OpenVINO hung in half of such processes: this many rounds find it."""


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_threads_that_start_together_do_not_wait_for_each_other(
    runtime: str, locked_build: Callable[[str], Path]
) -> None:
    network = locked_build("sface") / "sface" / network_file(0)
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", PROGRAM, str(network), runtime]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.returncode) == ("[True, True, True, True]\n", 0), done.stderr
