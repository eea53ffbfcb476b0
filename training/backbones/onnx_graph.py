"""An ONNX graph as a torch module whose weights can be trained: the operators of the packs' networks, no others.

Every node becomes torch's own layer, so that what trainers do by a layer's class (synchronised batch normalisation,
say) works here too. Two converters on PyPI were tried in their place: onnx2torch's last release is of 2024 and it
freezes the slopes of activations and MatMul's matrix; onnx2pytorch's module can't be exported again.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from facesvc.errors import PackInvalid

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Constants = list[NDArray[Any] | None]
"""A node's inputs in their order: the array where it is a constant, None where it is computed."""


class OnnxGraph(nn.Module):
    """One input, one output. Raises PackInvalid for an operator, or a setting of one, that it doesn't know."""

    def __init__(self, model: "ModelProto") -> None:
        from onnx import numpy_helper

        super().__init__()
        graph = model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        (self.input,) = (value.name for value in graph.input if value.name not in constants)
        (self.output,) = (value.name for value in graph.output)
        self.layers = nn.ModuleList(_layer(node, constants) for node in graph.node)
        self.wires = [([name for name in n.input if name not in constants], n.output[0]) for n in graph.node]

    def forward(self, images: Tensor) -> Tensor:
        """What the graph computes."""
        values = {self.input: images}
        for layer, (inputs, output) in zip(self.layers, self.wires, strict=True):
            values[output] = layer(*(values[name] for name in inputs))
        return values[self.output]


def _layer(node: "NodeProto", constants: Mapping[str, NDArray[Any]]) -> nn.Module:
    from onnx import helper

    if node.op_type not in LAYERS:
        raise PackInvalid(f"the network needs {node.op_type}, which can't be trained here")
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    try:
        return LAYERS[node.op_type](settings, [constants.get(name) for name in node.input])
    except _Unknown as error:
        raise PackInvalid(f"{node.op_type} {node.output[0]}: {error}") from error


class _Unknown(Exception):
    """A setting of an operator that no network of the packs uses."""


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise _Unknown(f"{what} is not supported")


def _fill(layer: nn.Module, **values: NDArray[Any] | None) -> nn.Module:
    """Copies the constants into the layer's tensors of these names."""
    tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    with torch.no_grad():
        for name, value in values.items():
            if value is not None:
                tensors[name].copy_(torch.from_numpy(value.copy()))
    return layer


def _padding(settings: Mapping[str, Any]) -> tuple[int, int]:
    top, left, bottom, right = settings.get("pads", [0] * 4)
    _require((top, left) == (bottom, right), "padding that differs from side to side")
    _require(settings.get("auto_pad", b"NOTSET") == b"NOTSET", "auto_pad")
    return top, left


def _convolution(settings: Mapping[str, Any], constants: Constants) -> nn.Module:
    weight, bias = constants[1], constants[2] if len(constants) > 2 else None
    assert weight is not None
    group, stride = settings.get("group", 1), tuple(settings.get("strides", (1, 1)))
    _require(set(settings.get("dilations", (1, 1))) == {1}, "dilation")
    out, channels, *kernel = weight.shape
    layer = nn.Conv2d(
        channels * group, out, (kernel[0], kernel[1]), stride, _padding(settings), groups=group, bias=bias is not None
    )
    return _fill(layer, weight=weight, bias=bias)


class _AnyBatchNorm(_BatchNorm):
    """Over (n c) and (n c h w) alike, as ONNX's."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes after the channels."""


def _batch_norm(settings: Mapping[str, Any], constants: Constants) -> nn.Module:
    _, weight, bias, mean, variance = constants
    assert weight is not None
    layer = _AnyBatchNorm(len(weight), settings.get("epsilon", 1e-5), 1 - settings.get("momentum", 0.9))
    return _fill(layer, weight=weight, bias=bias, running_mean=mean, running_var=variance)


def _linear(settings: Mapping[str, Any], constants: Constants) -> nn.Module:
    """Gemm and MatMul, by a constant matrix."""
    weight, bias = constants[1], constants[2] if len(constants) > 2 else None
    _require(constants[0] is None and weight is not None, "a product of two computed values")
    assert weight is not None
    plain = (settings.get("alpha", 1.0), settings.get("beta", 1.0), settings.get("transA", 0))
    _require(plain == (1.0, 1.0, 0), "a scaled or transposed product")
    matrix = weight if settings.get("transB", 0) else weight.T
    return _fill(nn.Linear(matrix.shape[1], matrix.shape[0], bias is not None), weight=matrix, bias=bias)


class _Arithmetic(nn.Module):
    """An operation of two values. A constant of several numbers is trained, as activations' slopes; a lone number,
    as of the input's normalisation, is not."""

    def __init__(self, operation: Callable[[Tensor, Tensor], Tensor], constants: Constants) -> None:
        super().__init__()
        self.operation = operation
        self.is_first = constants[0] is not None
        value = next((torch.from_numpy(constant.copy()) for constant in constants if constant is not None), None)
        if value is not None and value.numel() > 1:
            self.value: Tensor | None = nn.Parameter(value)
        else:
            self.register_buffer("value", value)

    def forward(self, *values: Tensor) -> Tensor:
        if self.value is None:
            first, second = values
        else:
            first, second = (self.value, values[0]) if self.is_first else (values[0], self.value)
        return self.operation(first, second)


def _arithmetic(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., nn.Module]:
    return lambda settings, constants: _Arithmetic(operation, constants)


class _Call(nn.Module):
    """A function without weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: Tensor) -> Tensor:
        return self.function(value)


class _ZeroPad(nn.Module):
    """ends: as torch's pad takes them, last axis first."""

    def __init__(self, ends: list[int]) -> None:
        super().__init__()
        self.ends = ends

    def forward(self, value: Tensor) -> Tensor:
        return functional.pad(value, self.ends)


def _pad(settings: Mapping[str, Any], constants: Constants) -> nn.Module:
    _require(settings.get("mode", b"constant") == b"constant" and len(constants) == 2, "padding other than with zeros")
    assert constants[1] is not None
    before, after = np.split(constants[1], 2)
    return _ZeroPad([int(end) for pair in zip(before[::-1], after[::-1], strict=True) for end in pair])


def _pooling(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Callable[..., nn.Module]:
    def build(settings: Mapping[str, Any], constants: Constants) -> nn.Module:
        _require(not settings.get("ceil_mode", 0), "ceil_mode")
        _require(_padding(settings) == (0, 0), "padding")
        return kind(tuple(settings["kernel_shape"]), tuple(settings["strides"]))

    return build


LAYERS: Mapping[str, Callable[[Mapping[str, Any], Constants], nn.Module]] = {
    "Add": _arithmetic(torch.add),
    "AveragePool": _pooling(nn.AvgPool2d),
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "Flatten": lambda settings, constants: nn.Flatten(settings.get("axis", 1)),
    "Gemm": _linear,
    "GlobalAveragePool": lambda settings, constants: nn.AdaptiveAvgPool2d(1),
    "MatMul": _linear,
    "MaxPool": _pooling(nn.MaxPool2d),
    "Mul": _arithmetic(torch.mul),
    "Neg": lambda settings, constants: _Call(torch.neg),
    "Pad": _pad,
    "Relu": lambda settings, constants: nn.ReLU(),
    "Sub": _arithmetic(torch.sub),
}
