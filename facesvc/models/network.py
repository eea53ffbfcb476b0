"""Proof that a converted network runs and is what its manifest says."""

from pathlib import Path

import numpy as np

from facesvc.errors import PackInvalid
from facesvc.models import manifest as manifests
from facesvc.models.runtime import Floats, Network, open_network

TOLERANCE = 1e-3
"""Of unit vectors between one chip alone and the same chip in a batch; a batch axis mixed up gives about 1."""


def check(path: Path, described: manifests.Network, runtime: str = "onnxruntime") -> None:
    """Runs noise through the network, chip by chip and as a batch. Raises PackInvalid."""
    size, features = described.crop.size, described.features
    chips = np.random.default_rng(0).uniform(-1, 1, (2, 3, size, size)).astype(np.float32)
    try:
        network = open_network(path, runtime)
        batch = _run(network, chips)
        singles = np.concatenate([_run(network, chip[None]) for chip in chips])
    except Exception as error:  # runtimes raise what they like on a graph they can't run
        raise PackInvalid(f"the network doesn't run on (n 3 {size} {size}): {error}") from error
    if batch.shape != (2, features) or singles.shape != (2, features):
        raise PackInvalid(f"the network gives {batch.shape} for two chips, not (2, {features})")
    if not (np.isfinite(batch).all() and (np.linalg.norm(batch, axis=1) > 0).all()):
        raise PackInvalid("the network gives vectors that are zero or not finite")
    if np.abs(_unit(batch) - _unit(singles)).max() > TOLERANCE:
        raise PackInvalid("the network gives a chip another vector in a batch than alone")


def _run(network: Network, chips: Floats) -> Floats:
    return network(chips)[0]


def _unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
