"""How well a network tells held-out people apart, during training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facesvc.core.metrics import tar_at_fmr
from facesvc.core.types import Pixels, Vectors
from facesvc.evaluation.comparisons import AllPairs
from facesvc.evaluation.intervals import TarAtFmr, bootstrap


@dataclass(frozen=True)
class Validation:
    """All pairs of the chips at ``rows``; labels: (n,) of the whole aligned set; transform: without augmentation."""

    chips: Pixels
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    transform: Callable[[Tensor], Tensor]
    fmr: float
    device: torch.device
    batch: int = 64

    def tar(self, network: nn.Module) -> float:
        """True accept rate at the configured FMR, 0..1."""
        vectors = torch.from_numpy(self.embed(network)).double()
        distances = (2 - 2 * vectors @ vectors.T).clamp(min=0).numpy()
        labels = self.labels[self.rows]
        same = labels[:, None] == labels[None, :]
        once = np.triu(np.ones_like(same), 1)
        return tar_at_fmr(distances[once & same], distances[once & ~same], self.fmr)

    def interval(self, network: nn.Module) -> tuple[float, float]:
        """95 % interval of that rate, by drawing the held-out people anew."""
        pairs = AllPairs(self.embed(network), self.labels[self.rows])
        tar = bootstrap(pairs, {"tar": TarAtFmr(self.fmr)})["tar"]
        return tar.low, tar.high

    def embed(self, network: nn.Module) -> Vectors:
        """(len(rows) 128) float32, by the network in evaluation mode; its mode is kept."""
        was_training = network.training
        network.eval()
        with torch.inference_mode():
            parts = [
                network(self._images(self.rows[start : start + self.batch])).float().cpu().numpy()
                for start in range(0, len(self.rows), self.batch)
            ]
        network.train(was_training)
        return np.concatenate(parts)

    def _images(self, rows: NDArray[np.int64]) -> Tensor:
        chips = [torch.from_numpy(np.array(self.chips[row])).permute(2, 0, 1) for row in rows]
        return torch.stack([self.transform(chip) for chip in chips]).to(self.device)
