"""OpenFace's nn4.small2 (Amos, Ludwiczuk, Satyanarayanan 2016, "OpenFace: a general-purpose face recognition library
with mobile applications"), after the table of inception modules in its ``nn4.small2.def.lua``."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from facesvc.core.types import DIMENSION


class Module(NamedTuple):
    """A row of the table. kernels: (side, reduced channels, channels) of each reduced convolution; stride: theirs;
    pool: "max" or "l2" over 3 x 3; pool_stride: its; pool_channels: after the 1 x 1 behind it, None where there is no
    such layer; plain: channels of the lone 1 x 1 convolution, None where there is none."""

    kernels: Sequence[tuple[int, int, int]]
    stride: int
    pool: str
    pool_stride: int
    pool_channels: int | None
    plain: int | None


TABLE = {
    "3a": Module([(3, 96, 128), (5, 16, 32)], 1, "max", 2, 32, 64),
    "3b": Module([(3, 96, 128), (5, 32, 64)], 1, "l2", 3, 64, 64),
    "3c": Module([(3, 128, 256), (5, 32, 64)], 2, "max", 2, None, None),
    "4a": Module([(3, 96, 192), (5, 32, 64)], 1, "l2", 3, 128, 256),
    "4e": Module([(3, 160, 256), (5, 64, 128)], 2, "max", 2, None, None),
    "5a": Module([(3, 96, 384)], 1, "l2", 3, 96, 256),
    "5b": Module([(3, 96, 384)], 1, "max", 2, 96, 256),
}
LRN = {"size": 5, "alpha": 1e-4, "beta": 0.75}


def nn4_small2() -> nn.Module:
    """96 px in OpenFace; its 3,733,968 parameters. A global average stands for its 3 x 3 one, the same at 96 px."""
    layers: list[nn.Module] = [
        *_convolution(3, 64, 7, 2),
        nn.MaxPool2d(3, 2, 1),
        nn.LocalResponseNorm(**LRN),
        *_convolution(64, 64, 1),
        *_convolution(64, 192, 3),
        nn.LocalResponseNorm(**LRN),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 192
    for row in TABLE.values():
        inception = Inception(channels, row)
        layers.append(inception)
        channels = inception.channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, DIMENSION))


class Inception(nn.Module):
    """Branches side by side, joined by channels; those with a smaller map are framed with zeros, as Torch 7's
    DepthConcat did."""

    def __init__(self, channels: int, row: Module) -> None:
        super().__init__()
        branches: list[Sequence[nn.Module]] = [
            [*_convolution(channels, reduced, 1), *_convolution(reduced, out, side, row.stride)]
            for side, reduced, out in row.kernels
        ]
        pool = nn.MaxPool2d(3, row.pool_stride) if row.pool == "max" else L2Pool(3, row.pool_stride)
        branches.append([pool, *(_convolution(channels, row.pool_channels, 1) if row.pool_channels else ())])
        if row.plain:
            branches.append(_convolution(channels, row.plain, 1))
        self.branches = nn.ModuleList(nn.Sequential(*branch) for branch in branches)
        self.channels = sum(out for *_, out in row.kernels) + (row.pool_channels or channels) + (row.plain or 0)

    def forward(self, maps: Tensor) -> Tensor:
        """(n c h w) -> (n channels h' w')."""
        parts = [branch(maps) for branch in self.branches]
        side = max(part.shape[-1] for part in parts)
        return torch.cat([_framed(part, side) for part in parts], 1)


class L2Pool(nn.Module):
    """Root of the sum of squares over each window. torch's LPPool2d has no gradient where all of it is zero."""

    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        self.side, self.stride = side, stride

    def forward(self, maps: Tensor) -> Tensor:
        squares = functional.avg_pool2d(maps.square(), self.side, self.stride) * self.side**2
        return (squares + 1e-12).sqrt()


def _convolution(channels: int, out: int, side: int, stride: int = 1) -> Sequence[nn.Module]:
    return nn.Conv2d(channels, out, side, stride, side // 2), nn.BatchNorm2d(out), nn.ReLU(inplace=True)


def _framed(maps: Tensor, side: int) -> Tensor:
    missing = side - maps.shape[-1]
    before = missing // 2
    return functional.pad(maps, (before, missing - before) * 2) if missing else maps
