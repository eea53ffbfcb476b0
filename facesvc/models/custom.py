"""A user's own ONNX embedder, brought to the form of the others: one input, one output, a free batch axis."""

from pathlib import Path

from facesvc.errors import PackInvalid
from facesvc.models import graph


def convert(content: bytes, target: Path) -> None:
    """Raises PackInvalid unless the model takes one (n 3 s s) float32 image and gives one (n k) float32 vector."""
    import onnx
    from onnx import TensorProto

    model = graph.read(content, "the network")
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for kind, values, axes in (("input", inputs, 4), ("output", model.graph.output, 2)):
        if len(values) != 1:
            raise PackInvalid(f"the network has {len(values)} {kind}s, not one")
        tensor = values[0].type.tensor_type
        if tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != axes:
            raise PackInvalid(f"the network's {kind} {values[0].name} is not float32 with {axes} axes")
        tensor.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]  # shapes within, inferred for the batch size of the export
    kept = list(inputs)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    onnx.save(model, target)
