"""dlib's face recognition network (King 2017, dlib_face_recognition_resnet_model_v1), a ResNet of 29 layers.

Input: (n 3 150 150) float32 RGB, (value - mean) / 256 with dlib's mean. Output: (n 128).
The .dat is dlib's own serialisation, read here from the last layer's wrapper down to the input, then layer by
layer from the input up: the order in which dlib writes a network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesvc.errors import PackDamaged
from facesvc.models.graph import GraphWriter

Floats = NDArray[np.float32]

STEM = (32, 3, 7, 7)
BLOCKS = (
    *((32, 32, 1),) * 3,
    *((32, 64, 2), (64, 64, 1), (64, 64, 1), (64, 64, 1)),
    *((64, 128, 2), (128, 128, 1), (128, 128, 1)),
    *((128, 256, 2), (256, 256, 1), (256, 256, 1)),
    (256, 256, 2),
)
"""Residual blocks of two 3x3 convolutions: channels in, channels out, stride of the first. The map's side falls
35 -> 17 -> 8 -> 4 -> 2."""
SHORT_BLOCKS = frozenset({10, 13})
"""Blocks whose convolutions give a row and a column fewer than their shortcut (8 -> 3 + 1, 4 -> 1 + 1)."""


def convert(content: bytes, target: Path) -> None:
    """dlib's .dat -> ONNX with a free batch axis. Raises PackDamaged."""
    layers = read(content)
    shapes = [STEM] + [shape for cin, cout, _ in BLOCKS for shape in ((cout, cin, 3, 3), (cout, cout, 3, 3))]
    if [conv.weight.shape for conv in layers.convolutions] != shapes or layers.dense.shape != (256, 128):
        raise PackDamaged("dlib's file is not the 29-layer face recognition network")
    build(layers, target)


@dataclass(slots=True)
class Convolution:
    """weight (out in h w), bias (out,): float64, with the affine layer that follows folded in."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def scale(self, gamma: Floats, beta: Floats) -> None:
        self.weight = self.weight * gamma[:, None, None, None]
        self.bias = self.bias * gamma + beta


@dataclass(slots=True)
class Layers:
    """All that the file says beyond the architecture, from input to output. dense: (256 128)."""

    convolutions: list[Convolution] = field(default_factory=list)
    dense: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def build(layers: Layers, target: Path) -> None:
    """Writes the graph: stem, max-pool, residual blocks, global average, dense layer without bias."""
    writer = GraphWriter()
    stem, *others = layers.convolutions
    value = _convolve(writer, stem, "image", "stem", 2, 0)
    value = writer.node("Relu", [value], "stem_relu")
    value = writer.node("MaxPool", [value], "stem_pool", kernel_shape=[3, 3], strides=[2, 2])
    for i, pair in enumerate(zip(others[::2], others[1::2], strict=True)):
        value = _add_block(writer, i, pair, value)
    value = writer.node("GlobalAveragePool", [value], "pooled")
    value = writer.node("Flatten", [value], "flat", axis=1)
    writer.node("MatMul", [value, writer.constant("dense.weight", layers.dense)], "features")
    writer.write(target, {"image": ["n", 3, 150, 150]}, {"features": ["n", 128]})


def _add_block(writer: GraphWriter, i: int, pair: tuple[Convolution, Convolution], value: str) -> str:
    cin, cout, stride = BLOCKS[i]
    first = _convolve(writer, pair[0], value, f"block{i}_conv1", stride, 0 if stride == 2 else 1)
    first = writer.node("Relu", [first], f"block{i}_relu1")
    branch = _convolve(writer, pair[1], first, f"block{i}_conv2", 1, 1)
    if stride == 2:
        value = writer.node("AveragePool", [value], f"block{i}_short", kernel_shape=[2, 2], strides=[2, 2])
        value = _pad(writer, value, channels=cout - cin)
        branch = _pad(writer, branch, side=int(i in SHORT_BLOCKS))
    total = writer.node("Add", [branch, value], f"block{i}_sum")
    return writer.node("Relu", [total], f"block{i}_relu2")


def _convolve(writer: GraphWriter, conv: Convolution, value: str, name: str, stride: int, pad: int) -> str:
    weight = writer.constant(f"{name}.weight", conv.weight.astype(np.float32))
    bias = writer.constant(f"{name}.bias", conv.bias.astype(np.float32))
    attributes = {"kernel_shape": list(conv.weight.shape[2:]), "strides": [stride] * 2, "pads": [pad] * 4}
    return writer.node("Conv", [value, weight, bias], name, **attributes)


def _pad(writer: GraphWriter, value: str, channels: int = 0, side: int = 0) -> str:
    """Appends channels, or a row and a column, of zeros: dlib adds tensors of different sizes that way."""
    if not channels and not side:
        return value
    ends = np.array([0, 0, 0, 0, 0, channels, side, side], np.int64)
    return writer.node("Pad", [value, writer.constant(f"{value}.pads", ends)], f"{value}_padded", mode="constant")


# --- dlib's serialisation ---------------------------------------------------------------------------


class Reader:
    """Reads dlib's primitives (dlib/serialize.h). Whatever is wrong is a PackDamaged with its place."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    @property
    def ended(self) -> bool:
        return self.at >= len(self.content)

    def damaged(self, what: str) -> PackDamaged:
        return PackDamaged(f"dlib's file is damaged: {what} at byte {self.at}")

    def raw(self, size: int) -> bytes:
        if not 0 <= size <= len(self.content) - self.at:
            raise self.damaged(f"{size} more bytes wanted")
        self.at += size
        return self.content[self.at - size : self.at]

    def integer(self) -> int:
        """Control byte (bit 7 sign, low four bits length 1..8), then the magnitude, little-endian."""
        control = self.raw(1)[0]
        if control & 0x70 or not 1 <= control & 15 <= 8:
            raise self.damaged("no integer")
        magnitude = int.from_bytes(self.raw(control & 15), "little")
        return -magnitude if control & 0x80 else magnitude

    def integers(self, count: int) -> list[int]:
        return [self.integer() for _ in range(count)]

    def skip_reals(self, count: int) -> None:
        """A real is two integers, mantissa and exponent of two."""
        self.integers(2 * count)

    def text(self) -> str:
        raw = self.raw(self.integer())
        if not raw.isascii():
            raise self.damaged("no text")
        return raw.decode("ascii")

    def tensor(self) -> Floats:
        """Version 2, four sizes, then float32 values."""
        version, *shape = self.integers(5)
        if version != 2 or min(shape) < 0:
            raise self.damaged("no tensor")
        return np.frombuffer(self.raw(4 * math.prod(shape)), "<f4").reshape(shape)

    def alias(self) -> list[int]:
        """The shape of a part of a layer's parameters: version 1, four sizes."""
        version, *shape = self.integers(5)
        if version != 1 or min(shape) < 0:
            raise self.damaged("no alias tensor")
        return shape


def read(content: bytes) -> Layers:
    """Parses the whole file. Raises PackDamaged."""
    reader = Reader(content)
    _read_opening(reader)
    layers, is_first = Layers(), True
    while not reader.ended:
        _read_layer(reader, layers)
        reader.raw(3)  # add_layer's three flags, then its three gradient tensors
        for _ in range(3):
            reader.tensor()
        if is_first:
            reader.integer()  # the input's sample expansion factor stands behind the first layer
            is_first = False
    return layers


def _read_opening(reader: Reader) -> None:
    if reader.integer() != 1 or reader.text() != "loss_metric_2":
        raise PackDamaged("dlib's file holds no metric network")
    reader.skip_reals(2)  # margin, distance threshold
    while reader.integer() != 3:  # versions of the nested add_layer (2), tag and skip (1) layers
        pass
    if reader.text() != "input_rgb_image_sized":
        raise reader.damaged("no RGB input layer")
    reader.skip_reals(3)  # the mean, which the manifest states
    reader.integers(2)


def _read_layer(reader: Reader, layers: Layers) -> None:
    name = reader.text()
    if name == "con_4":
        layers.convolutions.append(_read_convolution(reader))
    elif name == "affine_":
        _read_affine(reader, layers.convolutions)
    elif name == "fc_2":
        layers.dense = _read_dense(reader)
    elif name in ("max_pool_2", "avg_pool_2"):
        reader.integers(6)
    elif name not in ("relu_", "add_prev_"):
        raise reader.damaged(f"unknown layer {name[:40]!r}")


def _read_convolution(reader: Reader) -> Convolution:
    parameters = reader.tensor().ravel()
    reader.integers(7)  # filters, kernel, strides and padding, which the architecture states
    shape = reader.alias()
    reader.alias()
    reader.skip_reals(4)
    return Convolution(*_split(reader, parameters, shape, shape[0]))


def _split(
    reader: Reader, parameters: Floats, shape: Sequence[int], biases: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count = math.prod(shape)
    if len(parameters) != count + biases or not np.isfinite(parameters).all():
        raise reader.damaged("parameters that don't fit their layer")
    values = parameters.astype(np.float64)
    return values[:count].reshape(shape), values[count:]


def _read_affine(reader: Reader, convolutions: list[Convolution]) -> None:
    parameters = reader.tensor().ravel()
    reader.alias()
    reader.alias()
    reader.integer()
    if not convolutions or len(parameters) != 2 * len(convolutions[-1].bias) or not np.isfinite(parameters).all():
        raise reader.damaged("affine layer that doesn't fit its convolution")
    gamma, beta = np.split(parameters, 2)
    convolutions[-1].scale(gamma, beta)


def _read_dense(reader: Reader) -> Floats:
    reader.integers(2)
    weight = reader.tensor()
    reader.alias()
    reader.alias()
    reader.integer()
    reader.skip_reals(4)
    if not weight.size or not np.isfinite(weight).all():
        raise reader.damaged("parameters that don't fit their layer")
    return weight.reshape(len(weight), -1)
