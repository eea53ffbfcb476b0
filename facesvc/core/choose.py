"""Which of a photograph's faces is meant."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Face, FaceChoice, Sample
from facesvc.errors import NoFace, SeveralFaces

CENTRE_WEIGHT = 2.0
"""Squared pixels of area that one squared pixel of distance from the centre costs; InsightFace's value
(``FaceAnalysis.get`` with ``max_num``, in its RetinaFace and SCRFD detectors)."""

SAME_FACE = 0.4
"""Intersection over union from which two detectors' boxes are of one face. On the sample photographs the boxes that our
four detectors draw of a face overlap by 0.68 to 1, and those of neighbours by nothing."""


def prominence(face: Face, width: int, height: int) -> float:
    """Visible area minus a penalty for the distance from the centre of a width x height photograph, px^2.

    In a portrait a bystander at the border is often a little larger than the person it shows.
    """
    low, high = np.maximum(face.box[:2], 0), np.minimum(face.box[2:], (width, height))
    area = float(np.prod(np.maximum(high - low, 0)))
    offset = (face.box[:2] + face.box[2:]) / 2 - np.array([width, height]) / 2
    return area - CENTRE_WEIGHT * float(offset @ offset)


def choose(faces: Sequence[Face], choice: FaceChoice, width: int, height: int) -> Sequence[Face]:
    """The faces that ``choice`` asks for, from ``faces`` sorted largest first.

    Raises NoFace, and SeveralFaces where ONLY meets more than one.
    """
    if not faces:
        raise NoFace("no face was found in the photograph")
    if choice is FaceChoice.ALL:
        return faces
    if choice is FaceChoice.ONLY and len(faces) > 1:
        raise SeveralFaces(f"{len(faces)} faces found where one was expected")
    if choice is FaceChoice.PROMINENT:
        return [max(faces, key=lambda face: prominence(face, width, height))]
    return faces[:1]


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes (4,), x1 y1 x2 y2: 0 apart, 1 the same."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    whole = float(np.prod(np.maximum(a[2:] - a[:2], 0)) + np.prod(np.maximum(b[2:] - b[:2], 0))) - shared
    return shared / whole if whole > 0 else 0.0


def same_face(samples: Sequence[Sample], box: NDArray[np.float32]) -> Sample:
    """The sample of the face in this box (4,), which another detector may have drawn, px. Raises NoFace."""
    best = max(samples, key=lambda sample: overlap(sample.face.box, box), default=None)
    if best is None or overlap(best.face.box, box) < SAME_FACE:
        raise NoFace("no face was found where the reference's face is")
    return best
