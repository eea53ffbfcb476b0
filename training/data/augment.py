"""Augmentation: what happens to faces between a camera and the service, by torchvision's transforms.

Everything draws from torch's own generator: the same state, the same chips.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from facesvc.models import torchvision_ops
from training.data.crop import border

if TYPE_CHECKING:
    from torch import Tensor

Transform = Callable[["Tensor"], "Tensor"]
"""(3 h w) uint8 RGB chip -> (3 size size) float32 RGB, (value - 127.5) / 128."""
MEAN, SCALE = 127.5, 128.0
"""FaceNet's normalisation (facenet-pytorch's ``fixed_image_standardization``): -1..1."""
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Augmentation:
    """Probabilities and strengths, as plain numbers; ``Augmentation.none()`` changes nothing.

    flip: probability of the mirror image.
    shift, zoom: crop jitter, largest move and change of size, as shares of the crop's side.
    colour: probability of changed brightness, contrast, saturation (each by a factor within 1 -+ it) and hue (turns).
    grey: probability of a grey chip.
    blur: probability of a Gaussian blur whose sigma, px of the chip, lies in blur_sigma.
    low_resolution: probability that the chip is shrunk to a share of its side, within low_resolution_share, and
    enlarged again. jpeg: probability of JPEG compression with a quality within jpeg_quality.
    erase: probability that a rectangle of a share of the area within erase_share turns mid-grey.
    """

    flip: Share = 0.5
    shift: Share = 0.04
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.06
    colour: Share = 0.5
    brightness: Share = 0.3
    contrast: Share = 0.3
    saturation: Share = 0.3
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    grey: Share = 0.05
    blur: Share = 0.1
    blur_sigma: tuple[Positive, Positive] = (0.2, 1.5)
    low_resolution: Share = 0.15
    low_resolution_share: tuple[Positive, Positive] = (0.25, 0.8)
    jpeg: Share = 0.15
    jpeg_quality: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (30, 90)
    erase: Share = 0.15
    erase_share: tuple[Positive, Positive] = (0.02, 0.15)

    @classmethod
    def none(cls) -> "Augmentation":
        probabilities = ("flip", "shift", "zoom", "colour", "grey", "blur", "low_resolution", "jpeg", "erase")
        return cls(**dict.fromkeys(probabilities, 0.0))


def build(augmentation: Augmentation, size: int, margin: float = 0.0) -> Transform:
    """The augmentation of chips whose side holds ``margin`` (0..1) of context (``AlignedSet.margin``).

    Damage done by cameras and networks comes after the crop, at the size that the backbone sees.
    """
    torchvision_ops.install()
    from torchvision.transforms import v2

    from training.data.transforms import CropJitter, Jpeg, LowResolution

    a = augmentation
    jitter = v2.ColorJitter(a.brightness, a.contrast, a.saturation, a.hue)
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(a.flip),
            CropJitter(size, margin, a.shift, a.zoom),
            v2.RandomApply([jitter], a.colour),
            v2.RandomGrayscale(a.grey),
            v2.RandomApply([v2.GaussianBlur(_kernel(a.blur_sigma[1]), a.blur_sigma)], a.blur),
            v2.RandomApply([LowResolution(a.low_resolution_share)], a.low_resolution),
            v2.RandomApply([Jpeg(a.jpeg_quality)], a.jpeg),
            *_normalised(),
            v2.RandomErasing(a.erase, a.erase_share),
        ]
    )


def plain(size: int, margin: float = 0.0) -> Transform:
    """No augmentation: the context is cut off and the crop brought to ``size``, as the service sees faces."""
    torchvision_ops.install()
    from torchvision.transforms import v2

    def cut(chip: "Tensor") -> "Tensor":
        edge = border(chip.shape[-1], margin)
        return chip[..., edge : chip.shape[-2] - edge, edge : chip.shape[-1] - edge]

    return v2.Compose([v2.Lambda(cut), v2.Resize((size, size), antialias=True), *_normalised()])


def _normalised() -> list[Callable[["Tensor"], "Tensor"]]:
    import torch
    from torchvision.transforms import v2

    return [v2.ToDtype(torch.float32), v2.Normalize([MEAN] * 3, [SCALE] * 3)]


def _kernel(sigma: float) -> int:
    """Odd side, px, that holds 3 sigma on both sides."""
    return 2 * round(3 * sigma) + 1
