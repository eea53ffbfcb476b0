"""MTCNN: a cascade of three networks (Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask
Cascaded Convolutional Networks", section II), with facenet-pytorch's weights and constants.

It departs from facenet-pytorch's ``detect_face`` where that costs time or accuracy: the image pyramid starts by
halving, crops come from its nearest level and are padded instead of clipped at the border, and large photographs are
searched for faces of 40 px at 640 px, not of 20 px at full size. Boxes are edges (x1 = 0 is the image's left edge)
throughout; facenet-pytorch's are MATLAB's, counted from 1 with both ends inside.

An image in falling sizes, and crops of it taken from the size that fits.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Face, Pixels
from facesvc.models.network import Network
from facesvc.pipeline.detect.boxes import Boxes, largest_first, look_within_border, moved, squared, suppress

Blob = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The image resized. pixels: (h w 3) uint8; scale: (2,) float64, level pixels per image pixel along x and y."""

    pixels: Pixels
    scale: NDArray[np.float64]


def normalised(images: list[Pixels]) -> Blob:
    """n images (h w 3) uint8 of one size -> (n 3 h w) float32, (value - 127.5) / 128 as MTCNN was trained."""
    return cv2.dnn.blobFromImages(images, 1 / 128, mean=(127.5, 127.5, 127.5))  # type: ignore[return-value]


def resized(source: Level, width: int, height: int) -> Level:
    """``source`` at width x height px: area means where it shrinks, linear where it grows."""
    shrinks = width < source.pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = cv2.resize(source.pixels, (width, height), interpolation=method)
    return Level(pixels, source.scale * (width, height) / source.pixels.shape[1::-1])  # type: ignore[arg-type]


def halvings(pixels: Pixels, smallest: float, largest: float) -> list[Level]:
    """The image at 1, 1/2, 1/4, ... by falling size, between the scales ``smallest`` and ``largest``
    (from the last one above ``largest`` on, and one level at least). Whole blocks average at little cost."""
    exponents = [k for k in range(32) if k == 0 or 0.5**k >= smallest]
    first = max(k for k in exponents if k == 0 or 0.5**k >= largest)
    levels = [Level(pixels, np.ones(2))]
    for exponent in range(first, exponents[-1] + 1):
        width, height = (max(side >> exponent, 1) for side in pixels.shape[1::-1])
        levels.append(resized(levels[-1], width, height))
    return levels[1:]


def crops(levels: list[Level], boxes: Boxes, side: int) -> Blob:
    """Square boxes (n 4) px of the image -> (n 3 side side) float32, normalised; black beyond the border.

    Levels come by falling size; each box is cut from the smallest that is no smaller than the crop. Never clipped:
    a clipped box would be stretched, and faces near the border would be lost (facenet-pytorch's cascade does it).
    """
    scales = np.array([level.scale.min() for level in levels])
    sides = boxes[:, 2] - boxes[:, 0]
    finest = (scales * sides[:, None] >= side).sum(1) - 1
    return normalised([_crop(levels[max(i, 0)], box, side) for i, box in zip(finest, boxes, strict=True)])


def _crop(source: Level, box: Boxes, side: int) -> Pixels:
    """One bilinear warp that cuts, resizes and pads. Pixel centres lie at x + 1/2 in box coordinates."""
    step = (box[2:] - box[:2]) * source.scale / side
    corner = box[:2] * source.scale + step / 2 - 0.5
    matrix = np.array([[step[0], 0, corner[0]], [0, step[1], corner[1]]])
    return cv2.warpAffine(source.pixels, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)  # type: ignore[return-value]


CELL, STRIDE = 12, 2
"""px: P-Net's receptive field and step."""
FACTOR = 0.709
"""From one searched level to the next: about 1/sqrt 2, half the area (facenet-pytorch's default)."""
PROPOSED, REFINED, ACCEPTED = 0.6, 0.7, 0.7
"""Least face probability after P-Net, R-Net and O-Net (facenet-pytorch's defaults)."""
OVERLAP_IN_LEVEL, OVERLAP = 0.5, 0.7
"""Largest overlap of two boxes that are both kept, within a level and after each network (facenet-pytorch's)."""
R_SIDE, O_SIDE = 24, 48
"""px: input sides of R-Net and O-Net."""
CANDIDATES = 1024
"""Most boxes that go on to R-Net, the best ones: a bound on the time that a hostile image can take."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """n boxes on their way through the cascade. boxes (n 4) px, scores (n,) face probability 0..1,
    offsets (n 4): where the network that saw them says they should move, in box sides."""

    boxes: Boxes
    scores: NDArray[np.floating]
    offsets: NDArray[np.floating]

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Candidates":
        return Candidates(self.boxes[chosen], self.scores[chosen], self.offsets[chosen])

    def suppressed(self, limit: float) -> "Candidates":
        """Without duplicates; best first."""
        return self[suppress(self.boxes, self.scores, limit)]

    def regressed(self) -> Boxes:
        """(n 4): moved by their offsets and made square for the next network."""
        return squared(moved(self.boxes, self.offsets))


class MtcnnDetector:
    """min_face: px, smallest face sought in an image of ``long_side`` px; larger images are searched as if they had
    that size, smaller ones at their own. Where nothing is found, a second look is taken with a border around the
    image. Thread-safe."""

    name = "mtcnn"

    def __init__(self, pnet: Network, rnet: Network, onet: Network, min_face: int = 40, long_side: int = 640) -> None:
        self.pnet, self.rnet, self.onet = pnet, rnet, onet
        self.min_face, self.long_side = min_face, long_side

    def detect(self, pixels: Pixels) -> list[Face]:
        """(h w 3) uint8 RGB -> all faces, largest first, in pixels of the array; score: O-Net's face probability."""
        return largest_first(self._cascade(pixels) or look_within_border(self._cascade, pixels))

    def _cascade(self, pixels: Pixels) -> list[Face]:
        smallest = self.min_face * max(1.0, max(pixels.shape[:2]) / self.long_side)
        levels = halvings(pixels, CELL / smallest, O_SIDE / smallest)
        searched = search_levels(levels[-1], pixels, CELL / smallest)
        boxes = propose(self.pnet, searched)
        finer = [*levels, *(small for small in searched if small.scale.max() < levels[-1].scale.min())]
        return accept(self.onet, finer, refine(self.rnet, finer, boxes))


def search_levels(source: Level, pixels: Pixels, scale: float) -> list[Level]:
    """The levels that P-Net searches: ``scale`` times the image, then FACTOR of the level before, while a cell
    fits in."""
    height, width = pixels.shape[:2]
    levels = []
    while min(height, width) * scale >= CELL:
        source = resized(source, int(width * scale + 1), int(height * scale + 1))
        levels.append(source)
        scale *= FACTOR
    return levels


def propose(pnet: Network, levels: list[Level]) -> Boxes:
    """P-Net over all levels -> square boxes (n 4) px of the image, best first."""
    found = [_likely_cells(pnet, searched) for searched in levels]
    if not found:
        return np.zeros((0, 4))
    boxes, scores, offsets = (np.concatenate([getattr(c, part) for c in found]) for part in Candidates.__slots__)
    return Candidates(boxes, scores, offsets).suppressed(OVERLAP)[:CANDIDATES].regressed()


def _likely_cells(pnet: Network, searched: Level) -> Candidates:
    offsets, probability = pnet(normalised([searched.pixels]))
    rows, columns = np.nonzero(probability[0, 1] >= PROPOSED)
    corners = STRIDE * np.column_stack([columns, rows])
    boxes = np.hstack([corners, corners + CELL]) / np.hstack([searched.scale, searched.scale])
    cells = Candidates(boxes, probability[0, 1, rows, columns], offsets[0, :, rows, columns])
    return cells.suppressed(OVERLAP_IN_LEVEL)


def refine(rnet: Network, levels: list[Level], boxes: Boxes) -> Boxes:
    """R-Net over square boxes (n 4) px -> square boxes (m 4) px, m <= n, best first."""
    if not len(boxes):
        return boxes
    offsets, probability = rnet(crops(levels, boxes, R_SIDE))
    scores = probability[:, 1]
    return Candidates(boxes, scores, offsets)[scores > REFINED].suppressed(OVERLAP).regressed()


def accept(onet: Network, levels: list[Level], boxes: Boxes) -> list[Face]:
    """O-Net over square boxes (n 4) px -> the faces among them, best first."""
    if not len(boxes):
        return []
    boxes, landmarks, scores = see(onet, crops(levels, boxes, O_SIDE), boxes)
    sure = np.flatnonzero(scores > ACCEPTED)
    # Boxes about one face may differ in size: the smaller is judged by the part of it that is covered.
    kept = sure[suppress(boxes[sure], scores[sure], OVERLAP, by_smaller=True)]
    return [Face(boxes[i].astype(np.float32), landmarks[i].astype(np.float32), float(scores[i])) for i in kept]


def see(onet: Network, blob: Blob, boxes: Boxes) -> tuple[Boxes, NDArray[np.floating], NDArray[np.floating]]:
    """What O-Net says of crops (n 3 48 48) that were cut at square boxes (n 4) px: regressed boxes (n 4) px,
    landmarks (n 5 2) px, face probability (n,)."""
    offsets, shares, probability = onet(blob)
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    landmarks = boxes[:, None, :2] + np.stack([shares[:, :5], shares[:, 5:]], axis=2) * sides
    return moved(boxes, offsets), landmarks, probability[:, 1]
