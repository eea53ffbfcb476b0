"""Chips -> templates: the network of a pack, its head, and the length its templates have."""

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Pixels, Vectors
from facesvc.errors import PackDamaged
from facesvc.models.packs import NETWORK, Pack
from facesvc.models.runtime import Floats, open_network
from facesvc.pipeline.align import align


class OnnxEmbedder:
    """Implements ``core.ports.Embedder`` for a built pack; thread-safe.

    runtime: as in ``models.runtime.open_network``; threads and streams too.
    Raises PackDamaged, PackInvalid.
    """

    def __init__(self, pack: Pack, runtime: str = "auto", threads: int = 1, streams: int = 1) -> None:
        manifest = pack.manifest
        self.template_version = pack.template_version
        self.norm = manifest.norm
        self.size = manifest.crop.size
        self.points = np.array(manifest.crop.landmarks, np.float32)
        self.features = manifest.features
        self.is_bgr = manifest.colour == "BGR"
        self.mean = np.array(manifest.mean, np.float32)[:, None, None]
        self.std = np.array(manifest.std, np.float32)[:, None, None]
        self.flip = manifest.flip
        self.head = pack.head()
        path = pack.path(NETWORK)
        try:
            self.network = open_network(path, runtime, threads, streams)
        except Exception as error:  # each runtime has its own exceptions for a file it can't take
            raise PackDamaged(f"{path} can't be loaded: {error}") from error

    def align(self, pixels: Pixels, landmarks: NDArray[np.float32]) -> Pixels:
        """(h w 3) uint8 RGB and (5 2) px -> chip (s s 3) uint8 RGB."""
        return align(pixels, landmarks, self.points, self.size)

    def embed(self, chips: NDArray[np.uint8]) -> Vectors:
        """(n s s 3) uint8 RGB -> (n 128) float32 of the pack's norm; n may be 0.

        Raises ValueError for another shape or type, PackDamaged where the network gives no finite vectors.
        """
        if chips.dtype != np.uint8 or chips.shape[1:] != (self.size, self.size, 3):
            raise ValueError(f"chips are {chips.dtype} {chips.shape}, not uint8 (n, {self.size}, {self.size}, 3)")
        if not len(chips):
            return np.zeros((0, DIMENSION), np.float32)
        vectors = _unit(self._features(self._prepare(chips)))
        if self.head:
            vectors = _unit(self.head(vectors))
        return vectors * np.float32(self.norm)

    def _prepare(self, chips: NDArray[np.uint8]) -> Floats:
        """(n s s 3) uint8 RGB -> (n 3 s s) float32 in the network's colour order and range."""
        ordered = chips[..., ::-1] if self.is_bgr else chips
        return (ordered.transpose(0, 3, 1, 2).astype(np.float32, order="C") - self.mean) / self.std

    def _features(self, batch: Floats) -> Floats:
        """(n 3 s s) -> (n features): of the chips, or of chips and mirror images added."""
        both = np.concatenate([batch, batch[..., ::-1]]) if self.flip else batch
        outputs = self.network(both)[0]
        if outputs.shape != (len(both), self.features) or not np.isfinite(outputs).all():
            raise PackDamaged(f"the network gave {outputs.shape} or values that are not finite; build the pack anew")
        return outputs[: len(batch)] + outputs[len(batch) :] if self.flip else outputs


def _unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1. Raises PackDamaged for a zero vector, which has no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise PackDamaged("the network gave a zero vector; build the pack anew")
    return vectors / lengths
