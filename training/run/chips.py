"""The trainer's supply of batches: augmented chips whose chance depends on their place in the run alone.

Each chip's augmentation is seeded by (seed, epoch, step, place in the whole batch): the same with any number of worker
processes or devices, and after resuming in the middle of an epoch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from training.config import TrainConfig
from training.data.augment import Transform
from training.data.sampling import IdentityBatches
from training.run.distributed import World


class Batch(NamedTuple):
    """images: (n 3 size size) float32 RGB, (value - 127.5) / 128; labels: (n,) int64; rows: (n,) int64, the chips'
    places in the aligned set."""

    images: Tensor
    labels: Tensor
    rows: Tensor


def seed_of(*parts: int) -> int:
    """A 63-bit seed, well mixed, for torch's generators."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


class _Chips(Dataset[tuple[Tensor, int, int]]):
    def __init__(self, chips: NDArray[np.uint8], labels: NDArray[np.int64], transform: Transform) -> None:
        self.chips, self.labels, self.transform = chips, labels, transform

    def __getitem__(self, index: tuple[int, int]) -> tuple[Tensor, int, int]:
        row, seed = index
        torch.default_generator.manual_seed(seed)  # the transforms draw from it
        chip = torch.from_numpy(np.array(self.chips[row])).permute(2, 0, 1)
        return self.transform(chip), int(self.labels[row]), row


class _Seeded(Sampler[list[tuple[int, int]]]):
    """The sampler's batches of places among the training rows, as (row, seed), from a step of the epoch on."""

    def __init__(self, batches: IdentityBatches, rows: NDArray[np.int64], seed: int, rank: int) -> None:
        self.batches, self.rows, self.seed, self.rank = batches, rows, seed, rank
        self.epoch = self.start = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, len(self.batches)):
            batch = self.batches.batch(step)
            first = self.rank * len(batch)
            yield [
                (int(self.rows[place]), seed_of(self.seed, self.epoch, step, first + i))
                for i, place in enumerate(batch)
            ]


class Supply:
    """Batches of an epoch. rows: (m,) of the aligned set to train on; labels: (n,) one number a subject, of all.

    Raises RequestError where a batch can't be drawn from these people, or not be shared out among the processes.
    """

    def __init__(
        self,
        chips: NDArray[np.uint8],
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        transform: Transform,
        config: TrainConfig,
        world: World,
    ) -> None:
        batch = config.batch
        self.batches = IdentityBatches(
            labels[rows], batch.identities, batch.photographs, batch.steps, config.seed, world.rank, world.size
        )
        self.sampler = _Seeded(self.batches, rows, config.seed, world.rank)
        self.loader = DataLoader(
            _Chips(chips, labels, transform),
            batch_sampler=self.sampler,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            collate_fn=_collate,
            pin_memory=world.device.type == "cuda",
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This process's part of each batch of the epoch, from step ``start`` on."""
        self.batches.set_epoch(epoch)
        self.sampler.epoch, self.sampler.start = epoch, start
        yield from self.loader


def _collate(items: Sequence[tuple[Tensor, int, int]]) -> Batch:
    images, labels, rows = zip(*items, strict=True)
    return Batch(torch.stack(images), torch.tensor(labels), torch.tensor(rows))
