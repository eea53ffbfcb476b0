"""Aligned faces -> templates: the networks of a pack, its head, and the length its templates have.

The formula, step by step, is that of ``models.manifest.Manifest``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, AlignedFace, Pixels, Vectors
from facesvc.errors import PackDamaged
from facesvc.models import manifest as manifests
from facesvc.models.network import Floats, open_network
from facesvc.models.packs import Pack, network_file
from facesvc.pipeline.align import align


class OnnxEmbedder:
    """Implements ``core.ports.Embedder`` for a built pack; thread-safe.

    runtime: as in ``models.network.open_network``; threads and streams too.
    Raises PackDamaged, PackInvalid.
    """

    def __init__(self, pack: Pack, runtime: str = "auto", threads: int = 1, streams: int = 1) -> None:
        self.template_version = pack.template_version
        self.norm = pack.manifest.norm
        self.head = pack.head()
        self.networks = [
            ChipNetwork(described, pack.path(network_file(i)), runtime, threads, streams)
            for i, described in enumerate(pack.manifest.networks)
        ]

    def align(self, pixels: Pixels, landmarks: NDArray[np.float32]) -> AlignedFace:
        """(h w 3) uint8 RGB and (5 2) px -> a chip (s s 3) uint8 RGB for each network."""
        return tuple(network.align(pixels, landmarks) for network in self.networks)

    def embed(self, faces: Sequence[AlignedFace]) -> Vectors:
        """n faces as ``align`` gives them -> (n 128) float32 of the pack's norm; n may be 0.

        Raises ValueError for chips of another number, shape or type, PackDamaged where a network gives no finite
        vectors.
        """
        if any(len(face) != len(self.networks) for face in faces):
            raise ValueError(f"faces have {[len(face) for face in faces]} chips, not {len(self.networks)} each")
        if not faces:
            return np.zeros((0, DIMENSION), np.float32)
        vectors = self._features(faces)
        if self.head:
            vectors = _unit(self.head(vectors))
        return vectors * np.float32(self.norm)

    def _features(self, faces: Sequence[AlignedFace]) -> Floats:
        """n faces -> (n features), unit length: what the networks say, one after the other."""
        chips = zip(*faces, strict=True)
        parts = [network.embed(own) for network, own in zip(self.networks, chips, strict=True)]
        return _unit(np.concatenate(parts, axis=1)) if len(parts) > 1 else parts[0]


class ChipNetwork:
    """One network of a pack: where its chip lies in a photograph, and its vector; thread-safe.

    path: of the converted network; the others as in ``models.network.open_network``. Raises PackDamaged.
    """

    def __init__(self, described: manifests.Network, path: Path, runtime: str, threads: int, streams: int) -> None:
        self.size = described.crop.size
        self.points = np.array(described.crop.landmarks, np.float32)
        self.features = described.features
        self.is_bgr = described.colour == "BGR"
        self.mean = np.array(described.mean, np.float32)[:, None, None]
        self.std = np.array(described.std, np.float32)[:, None, None]
        self.flip = described.flip
        self.weight = np.float32(described.weight)
        try:
            self.network = open_network(path, runtime, threads, streams)
        except Exception as error:  # each runtime has its own exceptions for a file it can't take
            raise PackDamaged(f"{path} can't be loaded: {error}") from error

    def align(self, pixels: Pixels, landmarks: NDArray[np.float32]) -> Pixels:
        """(h w 3) uint8 RGB and (5 2) px -> chip (s s 3) uint8 RGB."""
        return align(pixels, landmarks, self.points, self.size)

    def embed(self, chips: Sequence[Pixels]) -> Floats:
        """n chips (s s 3) uint8 RGB -> (n features) float32, each as long as the network's weight."""
        both = [*chips, *(chip[:, ::-1] for chip in chips)] if self.flip else chips
        outputs = self.outputs(both)
        added = outputs[: len(chips)] + outputs[len(chips) :] if self.flip else outputs
        return _unit(added) * self.weight

    def outputs(self, chips: Sequence[Pixels]) -> Floats:
        """n chips (s s 3) uint8 RGB -> (n features) float32, as the network gives them: neither mirror images
        added nor scaled. Raises ValueError, PackDamaged."""
        for chip in chips:
            if chip.dtype != np.uint8 or chip.shape != (self.size, self.size, 3):
                raise ValueError(f"a chip is {chip.dtype} {chip.shape}, not uint8 ({self.size}, {self.size}, 3)")
        outputs = self.network(self._prepare(np.stack(chips)))[0]
        if outputs.shape != (len(chips), self.features) or not np.isfinite(outputs).all():
            raise PackDamaged(f"the network gave {outputs.shape} or values that are not finite; build the pack anew")
        return outputs

    def _prepare(self, chips: NDArray[np.uint8]) -> Floats:
        """(n s s 3) uint8 RGB -> (n 3 s s) float32 in the network's colour order and range."""
        ordered = chips[..., ::-1] if self.is_bgr else chips
        return (ordered.transpose(0, 3, 1, 2).astype(np.float32, order="C") - self.mean) / self.std


def _unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1. Raises PackDamaged for a zero vector, which has no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise PackDamaged("the network gave a zero vector; build the pack anew")
    return vectors / lengths
