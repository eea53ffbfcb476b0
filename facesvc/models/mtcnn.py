"""MTCNN's three networks (Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks") with facenet-pytorch's weights, as ONNX files.

The graphs are written node by node: networks this small need no tracer, and the files are the same bytes on every
machine. The transposition before the first dense layer, a trace of the networks' MATLAB origin, goes into that
layer's weights.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesvc.models import carriers, checkpoint
from facesvc.models.graph import GraphWriter
from facesvc.models.manifest import Source

Weights = Mapping[str, NDArray[np.float32]]

DIGESTS = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
"""SHA-256 of facenet-pytorch 2.5.3's ``data/*.pt``."""

LAYERS = {
    "pnet": "conv1 prelu1 pool:2 conv2 prelu2 conv3 prelu3",
    "rnet": "conv1 prelu1 pool:3 conv2 prelu2 pool:3 conv3 prelu3 dense4:3,3,64 prelu4",
    "onet": "conv1 prelu1 pool:3 conv2 prelu2 pool:3 conv3 prelu3 pool:2 conv4 prelu4 dense5:3,3,128 prelu5",
}
"""The trunks of facenet_pytorch.models.mtcnn. ``pool:kernel``, all with stride 2; ``dense:w,h,c`` names the axes of
the map that the layer was trained to read, in its order."""

HEADS = {
    "pnet": {"box": "conv4_2", "face": "conv4_1"},
    "rnet": {"box": "dense5_2", "face": "dense5_1"},
    "onet": {"box": "dense6_2", "landmarks": "dense6_3", "face": "dense6_1"},
}
"""Outputs in facenet-pytorch's order. box: four offsets in box sides; landmarks: five x, then five y, in box sides;
face: probabilities of no face and of a face."""

INPUTS: dict[str, list[int | str]] = {
    "pnet": ["n", 3, "h", "w"],  # fully convolutional: any size from 12 px on
    "rnet": ["n", 3, 24, 24],
    "onet": ["n", 3, 48, 48],
}


def export(folder: Path) -> list[Path]:
    """Writes pnet.onnx, rnet.onnx and onet.onnx into ``folder`` from the installed facenet-pytorch's weights.

    Input ``image`` (n 3 h w) float32 RGB, (value - 127.5) / 128; h and w free for P-Net, 24 for R-Net, 48 for O-Net.
    Raises CarrierMissing where facenet-pytorch is not installed, PackDamaged where its weights are not the published
    ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.onnx" for name in LAYERS}
    for name, path in paths.items():
        write(name, read_weights(name), path)
    return list(paths.values())


def source(name: str) -> Source:
    """Where the weights of "pnet", "rnet" or "onet" come from."""
    return Source(
        file=f"{name}.pt",
        sha256=DIGESTS[name],
        package="facenet_pytorch",
        path=f"data/{name}.pt",
        requirement="facenet-pytorch==2.5.3",
        licence="MIT",
    )


def read_weights(name: str) -> Weights:
    """Return one network's state dict, by facenet-pytorch's names. Raises CarrierMissing, PackDamaged, PackInvalid."""
    content, _ = carriers.fetch(source(name), "MTCNN")
    return checkpoint.read(content)


def write(name: str, weights: Weights, path: Path) -> None:
    """The network called ``name`` as an ONNX file."""
    network = _Network(weights)
    trunk = "image"
    for layer in LAYERS[name].split():
        trunk = network.add(layer, trunk)
    outputs = {output: network.add_head(output, layer, trunk) for output, layer in HEADS[name].items()}
    network.writer.write(path, {"image": INPUTS[name]}, outputs)


class _Network:
    """Writes layers, called by their names in ``weights``; every method returns the name of the value it made."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.writer = GraphWriter()

    def add(self, layer: str, value: str) -> str:
        kind, _, sizes = layer.partition(":")
        if kind == "pool":
            return self._pool(value, int(sizes))
        if kind.startswith("prelu"):
            return self._prelu(kind, value)
        if kind.startswith("conv"):
            return self._conv(kind, value, f"{kind}_out")
        flat = self.writer.node("Flatten", [value], f"{kind}_in", axis=1)
        weight = channels_first(self.weights[f"{kind}.weight"], *map(int, sizes.split(",")))
        return self._dense(kind, weight, flat, f"{kind}_out")

    def add_head(self, output: str, layer: str, value: str) -> list[int | str]:
        """Ends the graph in ``output``; returns its shape."""
        raw = f"{output}_raw" if output == "face" else output
        is_map = layer.startswith("conv")
        if is_map:
            self._conv(layer, value, raw)
        else:
            self._dense(layer, self.weights[f"{layer}.weight"], value, raw)
        if output == "face":
            self.writer.node("Softmax", [raw], output, axis=1)
        width = len(self.weights[f"{layer}.bias"])
        return ["n", width, "rows", "columns"] if is_map else ["n", width]

    def _conv(self, layer: str, value: str, output: str) -> str:
        return self.writer.node("Conv", [value, self._own(f"{layer}.weight"), self._own(f"{layer}.bias")], output)

    def _dense(self, layer: str, weight: NDArray[np.float32], value: str, output: str) -> str:
        matrix = self.writer.constant(f"{layer}.weight", weight)
        return self.writer.node("Gemm", [value, matrix, self._own(f"{layer}.bias")], output, transB=1)

    def _prelu(self, layer: str, value: str) -> str:
        slopes = self.weights[f"{layer}.weight"]
        follows_conv = f"{layer.replace('prelu', 'conv')}.weight" in self.weights
        slope = self.writer.constant(f"{layer}.weight", slopes[:, None, None] if follows_conv else slopes)
        return self.writer.prelu(value, slope, f"{layer}_out")

    def _pool(self, value: str, kernel: int) -> str:
        sides = {"kernel_shape": [kernel, kernel], "strides": [2, 2], "ceil_mode": 1}
        return self.writer.node("MaxPool", [value], f"{value}_pooled", **sides)

    def _own(self, name: str) -> str:
        return self.writer.constant(name, self.weights[name])


def channels_first(weight: NDArray[np.float32], w: int, h: int, c: int) -> NDArray[np.float32]:
    """A dense layer's weights (out, w h c) -> (out, c h w), the order in which ONNX flattens a map."""
    return weight.reshape(-1, w, h, c).transpose(0, 3, 2, 1).reshape(len(weight), -1)
