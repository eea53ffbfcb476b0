"""What a face costs on the CPU: one chip, one thread, ONNX Runtime."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facesvc.models.network import OnnxRuntimeNetwork

ROUNDS = 40
WARM_UP = 3


def milliseconds(files: Mapping[str, Path], sides: Mapping[str, int], rounds: int = ROUNDS) -> dict[str, float]:
    """Median time of one (1 3 s s) chip for each ONNX file; sides: s, px.

    The networks take turns, so that what else the machine does meets all of them alike.
    """
    networks = {name: OnnxRuntimeNetwork(file, threads=1) for name, file in files.items()}
    chips = {name: np.zeros((1, 3, side, side), np.float32) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(WARM_UP + rounds):
        for name, network in networks.items():
            began = time.perf_counter()
            network(chips[name])
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(taken[WARM_UP:])) for name, taken in times.items()}
