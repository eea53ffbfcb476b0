"""Which of a photograph's faces is meant."""

from collections.abc import Sequence

import numpy as np

from facesvc.core.types import Face, FaceChoice
from facesvc.errors import NoFace, SeveralFaces

CENTRE_WEIGHT = 2.0
"""Squared pixels of area that one squared pixel of distance from the centre costs; InsightFace's value
(``FaceAnalysis.get`` with ``max_num``, in its RetinaFace and SCRFD detectors)."""


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
