"""The historic baseline: Viola & Jones 2001 ("Rapid object detection using a boosted cascade of simple features")
with OpenCV's frontal face cascade."""

import threading

import cv2
import cv2.data
import numpy as np

from facesvc.core.types import Face, Pixels
from facesvc.models.network import Network
from facesvc.pipeline.detect.boxes import largest_first, suppress
from facesvc.pipeline.detect.refine import place_landmarks

CASCADE = "haarcascade_frontalface_default.xml"
STEP, NEIGHBOURS = 1.1, 5
"""Growth of the window between scans; hits that must agree on a face (OpenCV's tutorial values)."""
SCALE = 1.05
"""Side of O-Net's crop in sides of the cascade's box: the median, over 357 photographs, of the crops that MTCNN's own
cascade hands to O-Net."""
SEEN = 0.5
"""Least face probability of a box whose landmarks mean something."""
OVERLAP = 0.5
"""Share of the smaller box that may lie under a larger one's."""


class HaarDetector:
    """Boxes of the cascade, landmarks and score of MTCNN's O-Net on them, since the cascade gives none. A box in
    which O-Net sees no face has no landmarks, so it is left out: nothing could align it.

    min_face: px, smallest face sought in an image of ``long_side`` px; larger images are reduced to that.
    Thread-safe: OpenCV's classifier keeps state, so each thread has its own.
    """

    name = "haar"

    def __init__(self, onet: Network, min_face: int = 40, long_side: int = 640) -> None:
        self.onet, self.min_face, self.long_side = onet, min_face, long_side
        self.local = threading.local()

    def detect(self, pixels: Pixels) -> list[Face]:
        """(h w 3) uint8 RGB -> all faces, largest first, in pixels of the array; score: O-Net's face probability."""
        boxes = self._scan(pixels)
        if not len(boxes):
            return []
        landmarks, scores = place_landmarks(self.onet, pixels, boxes, SCALE)
        seen = np.flatnonzero(scores > SEEN)
        kept = seen[suppress(boxes[seen], scores[seen], OVERLAP, by_smaller=True)]
        return largest_first([Face(boxes[i], landmarks[i], float(scores[i])) for i in kept])

    def _scan(self, pixels: Pixels) -> np.ndarray:
        """(n 4) float32 x1 y1 x2 y2 px."""
        factor = min(1.0, self.long_side / max(pixels.shape[:2]))
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if factor < 1:
            grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        least = (self.min_face, self.min_face)
        found = self._classifier().detectMultiScale(grey, STEP, NEIGHBOURS, minSize=least)
        boxes = np.array(found, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes / np.float32(factor)

    def _classifier(self) -> cv2.CascadeClassifier:
        if not hasattr(self.local, "classifier"):
            self.local.classifier = cv2.CascadeClassifier(cv2.data.haarcascades + CASCADE)
        return self.local.classifier
