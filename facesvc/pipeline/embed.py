"""Aligned faces -> templates: the networks of a pack, its head, and the length its templates have.

The formula, step by step, is that of ``models.manifest.Manifest``.

Micro-batches: faces of callers who wait at the same time go through the networks in one call.

Nobody waits for a batch to fill: a worker takes what is there. Under light load every call is its own batch, under
heavy load batches grow by themselves.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import Embedder
from facesvc.core.types import DIMENSION, AlignedFace, Pixels, Vectors
from facesvc.errors import Overloaded, PackDamaged
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


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    faces: Sequence[AlignedFace]
    answer: Future[Vectors] = field(default_factory=Future)


class BatchingEmbedder:
    """An Embedder over another one, behind a bounded queue.

    workers: threads that call ``embedder``; max_batch: faces in one call; capacity: callers that may wait, the next
    one gets Overloaded. ``close`` ends the threads.
    """

    def __init__(self, embedder: Embedder, workers: int = 1, max_batch: int = 8, capacity: int = 256) -> None:
        self.embedder = embedder
        self.template_version = embedder.template_version
        self.max_batch, self.capacity = max_batch, capacity
        self.waiting: deque[_Request] = deque()
        self.changed = Condition()
        self.closed = False
        self.threads = [Thread(target=self._work, name=f"embed-{i}", daemon=True) for i in range(workers)]
        for thread in self.threads:
            thread.start()

    def align(self, pixels: Pixels, landmarks: NDArray[np.float32]) -> AlignedFace:
        """See ``core.ports.Embedder.align``."""
        return self.embedder.align(pixels, landmarks)

    def embed(self, faces: Sequence[AlignedFace]) -> Vectors:
        """See ``core.ports.Embedder.embed``; waits for its turn.

        Raises Overloaded when the queue is full or closed, and what the embedder raises for these very faces.
        """
        request = _Request(faces)
        with self.changed:
            if self.closed:
                raise Overloaded("the service is shutting down")
            if len(self.waiting) >= self.capacity:
                raise Overloaded(f"{self.capacity} callers wait for the embedding network already")
            self.waiting.append(request)
            self.changed.notify()
        return request.answer.result()

    def close(self) -> None:
        """Answers who waits already, refuses newcomers, and returns when the threads have ended."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._take():
            if len(batch) == 1 or not self._answer_together(batch):
                for request in batch:
                    self._answer(request)

    def _take(self) -> list[_Request]:
        """The requests that fit one call, at least one; [] when closed and nobody waits."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            batch: list[_Request] = []
            size = 0
            while self.waiting and (not batch or size + len(self.waiting[0].faces) <= self.max_batch):
                batch.append(self.waiting.popleft())
                size += len(batch[-1].faces)
            return batch

    def _answer_together(self, batch: list[_Request]) -> bool:
        """False where the call failed: then each is asked alone, so that the error finds whom it belongs to."""
        try:
            vectors = self.embedder.embed([face for request in batch for face in request.faces])
        except Exception:
            return False
        ends = np.cumsum([len(request.faces) for request in batch])
        for request, part in zip(batch, np.split(vectors, ends[:-1]), strict=True):
            request.answer.set_result(part)
        return True

    def _answer(self, request: _Request) -> None:
        """One caller's faces, in slices of max_batch: a photograph with a hundred faces keeps memory bounded."""
        starts = range(0, max(len(request.faces), 1), self.max_batch)
        try:
            parts = [self.embedder.embed(request.faces[start : start + self.max_batch]) for start in starts]
            request.answer.set_result(np.concatenate(parts))
        except BaseException as error:  # whatever it is, the caller is waiting for it
            request.answer.set_exception(error)
