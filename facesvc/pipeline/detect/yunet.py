"""YuNet (Wu, Peng & Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector") as OpenCV runs it."""

import threading
from pathlib import Path

import cv2
import numpy as np

from facesvc.core.types import Face, Pixels
from facesvc.errors import PackDamaged
from facesvc.pipeline.detect.boxes import largest_first, look_within_border

LONG_SIDE = 320
"""px: the size at which photographs are searched; at twice that once more where nothing was found."""
SCORE = 0.7
OVERLAP = 0.3
"""Largest intersection over union of two faces that are both kept (OpenCV Zoo's default)."""
LEAST_SIDE = 64
"""px: OpenCV pads images to multiples of 32, and where a side is 32 its network reads memory that was never written:
faces at random (seen with 4.14; from 64 on, results are the same bytes each time)."""
MOST = 5000
"""Boxes before suppression (OpenCV's default)."""


class YunetDetector:
    """path: OpenCV Zoo's face_detection_yunet_2023mar; long_side: px, larger photographs are reduced to it (at 320 it
    finds faces from about 1/30 of the photograph's side on); score: least score of a face, 0..1.

    Where nothing is found, it looks again with a border around the photograph, then at twice the size.
    Thread-safe: OpenCV's object holds the state of one call, so each thread has its own. Raises PackDamaged.
    """

    name = "yunet"

    def __init__(self, path: Path, long_side: int = LONG_SIDE, score: float = SCORE) -> None:
        self.path, self.long_side, self.score = path, long_side, score
        self.local = threading.local()
        self._network()

    def detect(self, pixels: Pixels) -> list[Face]:
        """(h w 3) uint8 RGB -> all faces, largest first, in pixels of the array; score: YuNet's, 0..1."""
        return largest_first(
            self._look(pixels) or look_within_border(self._look, pixels) or look_within_border(self._closer, pixels)
        )

    def _look(self, pixels: Pixels) -> list[Face]:
        return self._at(pixels, self.long_side)

    def _closer(self, pixels: Pixels) -> list[Face]:
        return self._at(pixels, 2 * self.long_side)

    def _at(self, pixels: Pixels, long_side: int) -> list[Face]:
        height, width = pixels.shape[:2]
        factor = min(1.0, long_side / max(height, width))
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        small: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if factor < 1 else pixels  # type: ignore[assignment]
        back = np.array([width, height], np.float32) / np.array(size, np.float32)
        return [_face(row, back) for row in self._rows(small)]

    def _rows(self, pixels: Pixels) -> np.ndarray:
        """OpenCV's rows (n 15) float32 for (h w 3) uint8 RGB."""
        right, below = (max(LEAST_SIDE - side, 0) for side in pixels.shape[1::-1])
        if right or below:
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_CONSTANT)  # type: ignore[assignment]
        network = self._network()
        network.setInputSize(pixels.shape[1::-1])
        _, rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        return np.zeros((0, 15), np.float32) if rows is None else rows

    def _network(self) -> cv2.FaceDetectorYN:
        if not hasattr(self.local, "network"):
            size = (self.long_side, self.long_side)  # replaced at every call
            try:
                self.local.network = cv2.FaceDetectorYN.create(str(self.path), "", size, self.score, OVERLAP, MOST)
            except cv2.error as error:
                raise PackDamaged(f"{self.path} is not a network that OpenCV's YuNet can load") from error
        return self.local.network


def _face(row: np.ndarray, back: np.ndarray) -> Face:
    """OpenCV's row: x, y, width, height, five landmarks in our order, score; back (2,): px of the photograph per px."""
    corner, sides, landmarks = row[:2], row[2:4], row[4:14].reshape(5, 2)
    return Face(np.hstack([corner * back, (corner + sides) * back]), landmarks * back, float(row[14]))
