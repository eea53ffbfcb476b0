"""Detection: image -> faces with five landmarks. One file a detector; the others' shared parts are
boxes.py (geometry), border.py (a second look) and pyramid.py (the image in falling sizes)."""

from collections.abc import Callable
from pathlib import Path

from facesvc.core.ports import Detector
from facesvc.errors import PackDamaged, PackInvalid
from facesvc.models.network import Network, open_network
from facesvc.pipeline.detect.haar import HaarDetector
from facesvc.pipeline.detect.mtcnn import MtcnnDetector
from facesvc.pipeline.detect.refine import RefinedDetector
from facesvc.pipeline.detect.yunet import YunetDetector

DETECTORS = ("yunet-onet", "mtcnn", "yunet", "haar")
"""What ``open_detector`` knows, the default first."""

RUNTIME = "onnxruntime"
"""What "auto" means here: photographs and numbers of faces give the networks a new shape at nearly every call, for
which OpenVINO prepares itself anew (median of 102 photographs: 28 ms against ONNX Runtime's 15)."""


def open_detector(name: str, file: Callable[[str], Path], runtime: str = "auto", threads: int = 1) -> Detector:
    """The detector called ``name``, one of DETECTORS.

    file: gives the path of "pnet.onnx", "rnet.onnx", "onet.onnx" (see ``models.mtcnn``) or "yunet.onnx"; only those
    the detector needs are asked for. runtime, threads: of MTCNN's networks; OpenCV's own follow
    ``cv2.setNumThreads``. Raises PackInvalid for another name, PackDamaged for a file that can't be loaded.
    """

    def network(stem: str) -> Network:
        path = file(f"{stem}.onnx")
        try:
            return open_network(path, RUNTIME if runtime == "auto" else runtime, threads)
        except Exception as error:  # each runtime has its own exceptions for a file it can't take
            raise PackDamaged(f"{path} can't be loaded: {error}") from error

    if name == "mtcnn":
        return MtcnnDetector(network("pnet"), network("rnet"), network("onet"))
    if name == "yunet":
        return YunetDetector(file("yunet.onnx"))
    if name == "yunet-onet":
        return RefinedDetector(YunetDetector(file("yunet.onnx")), network("onet"))
    if name == "haar":
        return HaarDetector(network("onet"))
    raise PackInvalid(f"detector {name!r} is unknown; there are {', '.join(DETECTORS)}")
