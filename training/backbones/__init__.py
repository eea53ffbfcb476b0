"""The registry of backbones: the historic line of the field, FaceNet's and OpenFace's networks, and pretrained ones.

All take (n 3 s s) float32 RGB, (value - 127.5) / 128, of chips in the ArcFace crop (``training.data.crop``), and give
(n 128) float32 of unit length.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from facesvc.errors import RequestError
from training.backbones import facenet, historic, openface, pretrained
from training.backbones.backbone import Backbone
from training.backbones.weights import load_weights


@dataclass(frozen=True, slots=True)
class Entry:
    """build: gives the module (n 3 s s) -> (n 128), not normalised; input_size: its own side of a chip, px; smallest:
    the least it takes, None where it takes that alone; published: whether it starts from published weights."""

    build: Callable[[], nn.Module]
    input_size: int
    smallest: int | None
    published: bool = False


REGISTRY: Mapping[str, Entry] = {
    "lenet": Entry(historic.lenet, 32, 32),
    "alexnet": Entry(historic.alexnet, 96, 64),
    "vgg11": Entry(historic.vgg11, 64, 32),
    "googlenet": Entry(historic.googlenet, 96, 64),
    "resnet18": Entry(historic.resnet18, 96, 32),
    "inception-resnet-v1": Entry(facenet.inception_resnet_v1, 160, 80),
    "nn4-small2": Entry(openface.nn4_small2, 96, 72),
    "sface": Entry(pretrained.sface, 112, None, published=True),
    "dlib": Entry(pretrained.dlib, pretrained.DLIB_SIDE, None, published=True),
}


def names() -> list[str]:
    """Every backbone, oldest first, those with published weights last."""
    return list(REGISTRY)


def build_backbone(
    name: str, *, pretrained: str | Path | None = None, seed: int | None = None, size: int | None = None
) -> Backbone:
    """A new network (n 3 s s) float32 RGB in -1..1, (value - 127.5) / 128 -> (n 128) float32 of unit length.

    pretrained: safetensors file of this backbone's weights, as a run's ``best.safetensors``; None: random weights, or
    the published ones of "sface" and "dlib", read from their packs, which are built on first need.
    seed: of the random weights; None: torch's current state. size: side of the chips, px; None: its own.
    Raises RequestError for a name, file or size that can't be; ModelError where published weights are missing.
    """
    entry = _entry(name)
    side = _side(name, entry, size)
    with torch.random.fork_rng(devices=[]) if seed is not None else nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        network = Backbone(entry.build(), side)
    if pretrained is not None:
        load_weights(network, Path(pretrained))
    return network


def _entry(name: str) -> Entry:
    if name not in REGISTRY:
        raise RequestError(f"there is no backbone {name!r}; known: {', '.join(REGISTRY)}")
    return REGISTRY[name]


def _side(name: str, entry: Entry, size: int | None) -> int:
    if size is None or size == entry.input_size:
        return entry.input_size
    if entry.smallest is None:
        raise RequestError(f"backbone {name} takes chips of {entry.input_size} px, not {size}")
    if size < entry.smallest:
        raise RequestError(f"backbone {name} takes chips of at least {entry.smallest} px, not {size}")
    return size
