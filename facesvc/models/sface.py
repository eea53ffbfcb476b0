"""SFace (Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition") as OpenCV Zoo
publishes it: a MobileFaceNet of 27 convolutions, weights quantised in blocks of 64.

Input: (n 3 112 112) float32 RGB 0..255; the graph itself subtracts 127.5 and scales by 1/128. Output: (n 128).
"""

from pathlib import Path

from facesvc.errors import PackInvalid
from facesvc.models import graph


def convert(content: bytes, target: Path) -> None:
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
