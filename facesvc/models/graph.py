"""ONNX graphs, read with suspicion, rewritten and written."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facesvc.errors import PackInvalid

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Constants = dict[str, NDArray[Any]]
Shape = Sequence[int | str]

OPSET, IR_VERSION = 17, 8
"""Of the graphs written node by node: what every runtime of recent years reads."""


def read(content: bytes, origin: str) -> "ModelProto":
    """Bytes -> a model that ONNX's own checker accepts, self-contained and of standard operators.

    External data is refused: it names files, and a stranger's model must not say which files are read.
    Raises PackInvalid.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
        if any(uses_external_data(tensor) for tensor in tensors(model.graph)):
            raise PackInvalid(f"{origin} keeps weights in other files; save it as one file")
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise PackInvalid(f"{origin} is no valid ONNX model: {error}") from error
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if foreign:
        raise PackInvalid(f"{origin} needs operators that are not ONNX's own: {', '.join(sorted(foreign))}")
    return model


def tensors(graph: "GraphProto") -> "Iterable[TensorProto]":
    """Every constant of a graph and of the graphs within its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in (a for node in graph.node for a in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            if inner.node or inner.initializer:
                yield from tensors(inner)


def uses_external_data(tensor: "TensorProto") -> bool:
    from onnx import TensorProto

    return tensor.data_location == TensorProto.EXTERNAL


def fold(model: "ModelProto") -> "tuple[list[NodeProto], Constants]":
    """Evaluates, with ONNX's reference implementation, every node that depends on constants alone.

    Returns the remaining nodes and all constants, in the types the operators gave them.
    """
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    remaining: list[NodeProto] = []
    for node in model.graph.node:
        if all(name in constants for name in node.input if name):
            constants[node.output[0]] = _evaluate(node, constants, model)
        else:
            remaining.append(node)
    return remaining, constants


def _evaluate(node: "NodeProto", constants: Mapping[str, NDArray[Any]], model: "ModelProto") -> NDArray[Any]:
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    inputs = [numpy_helper.from_array(constants[name], name) for name in node.input if name]
    output = helper.make_empty_tensor_value_info(node.output[0])
    graph = helper.make_graph([node], "constant", [], [output], inputs)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return ReferenceEvaluator(alone).run(None, {})[0]  # type: ignore[index]  # a list, since no name is asked for


class GraphWriter:
    """Collects nodes and constants; every method returns the name of the value it made."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: Constants = {}

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name

    def prelu(self, value: str, slope: str, output: str) -> str:
        """max(x, 0) - a max(-x, 0), the same value as PRelu's: in ONNX Runtime SFace then takes 22 ms instead of
        35, in OpenVINO it stays at 14."""
        positive = self.node("Relu", [value], f"{output}_positive")
        mirrored = self.node("Neg", [value], f"{output}_mirrored")
        negative = self.node("Relu", [mirrored], f"{output}_negative")
        leaked = self.node("Mul", [negative, slope], f"{output}_leaked")
        return self.node("Sub", [positive, leaked], output)

    def write(self, path: Path, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape], opset: int = OPSET) -> None:
        """Saves the float32 model, without the constants that no node reads."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        read = {name for node in self.nodes for name in node.input}
        kept = [(name, value) for name, value in self.constants.items() if name in read]
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in kept],
        )
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="facesvc")
        onnx.checker.check_model(model)
        onnx.save(model, path)


def shapes(values: "Iterable[Any]") -> dict[str, list[int | str]]:
    """Value infos -> name and dimensions, a free one by its name."""
    return {v.name: [d.dim_value or d.dim_param or "?" for d in v.type.tensor_type.shape.dim] for v in values}
