"""Thumbnails for a report, as data URIs: the aligned face, or the whole photograph where none was found."""

import base64
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Pixels
from facesvc.errors import FaceServiceError
from facesvc.evaluation.templates import Templates
from facesvc.pipeline.align import align
from facesvc.pipeline.decode import DecodeLimits, decode

SIZE = 96
"""Side of a thumbnail, px."""
FACE = np.array([[33, 38], [63, 38], [48, 56], [36, 73], [60, 73]], np.float32)
"""Where the landmarks lie in it: looser than any embedder's chip, so that a person can tell the person."""
QUALITY = 78


def thumbnails(templates: Templates, places: Iterable[int], limits: DecodeLimits) -> dict[int, str]:
    """A JPEG data URI for each place in the files that can be decoded at all."""
    drawn = {
        place: _thumbnail(templates.folder / templates.files[place], templates.landmarks[place], limits)
        for place in sorted(set(places))
    }
    return {place: uri for place, uri in drawn.items() if uri}


def _thumbnail(file: Path, landmarks: NDArray[np.float32], limits: DecodeLimits) -> str | None:
    try:
        image = decode(file.read_bytes(), limits)
        points = landmarks * image.scale  # from the photograph as sent to the pixels as decoded
        chip = align(image.pixels, points, FACE, SIZE) if np.isfinite(points).all() else _shrunk(image.pixels)
    except (FaceServiceError, OSError):
        return None
    _, content = cv2.imencode(".jpg", chip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"


def _shrunk(pixels: Pixels) -> Pixels:
    """The whole photograph, its longer side at most SIZE."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
