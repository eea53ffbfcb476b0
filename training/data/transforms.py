"""The three transforms that torchvision lacks, or has only with its compiled image codecs, in its own form.

Chips are (3 h w) uint8 RGB tensors. Imports torchvision: ``facesvc.models.torchvision_ops.install`` comes first.
"""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from training.data.crop import border


def uniform(low: float, high: float) -> float:
    """A draw from torch's generator."""
    return torch.empty(()).uniform_(low, high).item()


class CropJitter(v2.Transform):
    """The crop within its context, moved and zoomed a little, at ``size``; black beyond the chip, as in the service's
    own alignment. shift, zoom: largest, as shares of the crop's side; margin: share of the side that is context."""

    def __init__(self, size: int, margin: float, shift: float, zoom: float) -> None:
        super().__init__()
        self.size, self.margin, self.shift, self.zoom = size, margin, shift, zoom

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        edge = border(flat_inputs[0].shape[-1], self.margin)
        side = flat_inputs[0].shape[-1] - 2 * edge
        taken = round(side * uniform(1 - self.zoom, 1 + self.zoom))
        top, left = (edge + (side - taken) / 2 + side * uniform(-self.shift, self.shift) for _ in range(2))
        return {"top": round(top), "left": round(left), "height": taken, "width": taken}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return functional.resized_crop(inpt, size=[self.size, self.size], antialias=True, **params)


class LowResolution(v2.Transform):
    """Shrinks the chip to a share of its side, drawn from ``shares``, and enlarges it again, both bilinearly."""

    def __init__(self, shares: tuple[float, float]) -> None:
        super().__init__()
        self.shares = shares

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"side": max(1, round(flat_inputs[0].shape[-1] * uniform(*self.shares)))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        small = functional.resize(inpt, [params["side"]] * 2, antialias=True)
        return functional.resize(small, list(inpt.shape[-2:]), antialias=True)


class Jpeg(v2.Transform):
    """JPEG compression with a quality drawn from ``quality``, both ends within.

    By OpenCV: ``v2.JPEG`` needs torchvision's compiled codecs, which don't load beside a CPU build of torch.
    """

    def __init__(self, quality: tuple[int, int]) -> None:
        super().__init__()
        self.quality = quality

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"quality": int(torch.randint(self.quality[0], self.quality[1] + 1, ()))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        pixels = np.ascontiguousarray(inpt.permute(1, 2, 0).numpy()[..., ::-1])  # OpenCV's colours are BGR
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, params["quality"]])
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        return torch.from_numpy(decoded[..., ::-1].copy()).permute(2, 0, 1)
