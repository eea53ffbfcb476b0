"""The packs' networks in torch, with a 128-d linear layer behind them, to be trained further."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from facesvc.config import Settings
from facesvc.core.types import DIMENSION
from facesvc.models.manifest import Network
from facesvc.models.packs import Pack, Packs, network_file
from facesvc.pipeline.align import similarity
from training.backbones.onnx_graph import OnnxGraph
from training.data.crop import ARCFACE, ARCFACE_SIDE

DLIB_SIDE = 167
"""Side of the ArcFace chip in which a face is as large as in dlib's chip of 150 px."""


def sface(packs: Packs | None = None) -> nn.Module:
    """SFace (Zhong et al. 2021), 112 px; batch normalisation and slopes are trained with the rest."""
    return _network(_pack("sface", packs))


def dlib(packs: Packs | None = None) -> nn.Module:
    """dlib's ResNet-29 (King 2017), whose affine layers are folded into its convolutions: nothing in it depends on
    the batch. Cuts dlib's 150 px out of an ArcFace chip of 167 px; what lies below that chip is black."""
    return _network(_pack("dlib", packs))


def _pack(name: str, packs: Packs | None) -> Pack:
    """Built on first need. Raises ModelError."""
    return (packs or Packs(Settings().packs)).build(name)


def _network(pack: Pack) -> nn.Module:
    import onnx

    (network,) = pack.manifest.networks
    graph = OnnxGraph(onnx.load(pack.path(network_file(0))))
    return nn.Sequential(Cut(network), Normalisation(network), graph, identity_head())


def identity_head() -> nn.Linear:
    """128 -> 128, first passing on what it is given: training starts from the published network's vectors."""
    head = nn.Linear(DIMENSION, DIMENSION)
    nn.init.eye_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class Cut(nn.Module):
    """The network's own chip out of an ArcFace chip in which the face has the same size; black where it ends.

    By whole pixels, so nothing is interpolated: the corner is where it brings the two crops' landmarks nearest.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        own = np.asarray(network.crop.landmarks)
        scale = np.hypot(*similarity(ARCFACE, own)[:, 0])
        self.side = round(ARCFACE_SIDE * scale)
        landmarks = (np.array(ARCFACE) + 0.5) * self.side / ARCFACE_SIDE - 0.5
        self.left, self.top = (int(corner) for corner in np.round((landmarks - own).mean(0)))
        self.right, self.bottom = (self.side - network.crop.size - corner for corner in (self.left, self.top))

    def forward(self, images: Tensor) -> Tensor:
        """(n 3 side side) in -1..1 -> (n 3 s s)."""
        ends = [-self.left, -self.right, -self.top, -self.bottom]
        return functional.pad(images, ends, value=-127.5 / 128) if any(ends) else images


class Normalisation(nn.Module):
    """From (value - 127.5) / 128, RGB, to (value - mean) / std in the channel order that the network was made for."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))
        self.is_reversed = network.colour == "BGR"
        self.register_buffer("scale", 128 / std)
        self.register_buffer("shift", (127.5 - mean) / std)

    def forward(self, images: Tensor) -> Tensor:
        ordered = images.flip(1) if self.is_reversed else images
        return ordered * self.scale + self.shift
