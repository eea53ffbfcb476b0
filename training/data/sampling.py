"""Batches of P identities x K photographs, as online triplet mining needs them (Hermans et al. 2017, "In Defense of
the Triplet Loss for Person Re-Identification", section 2; FaceNet took about 40 of each identity)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from facesvc.errors import RequestError


class IdentityBatches(Sampler[list[int]]):
    """An epoch's batches of indices into ``labels``: per batch P identities, and K photographs of each, in a row.

    A batch depends on (seed, epoch, step) alone. Rank r of w gets the r-th part of its identities, so w processes
    together see exactly what one would. Within an epoch identities are taken by turns: all have been in
    a batch (but for the last few of a round that fill none) before any comes again. Who has fewer than K photographs
    gives each of them as evenly as can be; who has one gives no mated pair and is left out.
    """

    def __init__(
        self,
        labels: ArrayLike,
        identities: int,
        photographs: int,
        batches: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """labels: (n,) a number per photograph; identities: P, photographs: K, of the batch over all processes;
        batches: of an epoch; rank, world: this process and how many there are.

        Raises RequestError where too few people have two photographs, or P can't be shared out evenly.
        """
        members = _members(np.asarray(labels))
        if len(members) < identities:
            raise RequestError(f"{len(members)} people have two photographs or more: too few for {identities} a batch")
        if identities < 2 or photographs < 2:
            raise RequestError("a batch needs two identities and two photographs of each at least")
        if identities % world or not 0 <= rank < world:
            raise RequestError(f"{identities} identities can't be shared out evenly among {world} processes")
        self.members, self.identities, self.photographs = members, identities, photographs
        self.batches, self.seed, self.rank, self.world = batches, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """What the next iteration is of; epochs differ."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        return (self.batch(step) for step in range(self.batches))

    def batch(self, step: int) -> list[int]:
        """This process's part of the epoch's batch number ``step``."""
        each = self.identities // self.world
        chosen = self._identities(step)[self.rank * each : (self.rank + 1) * each]
        return [int(index) for identity in chosen for index in self._photographs(identity, step)]

    def _identities(self, step: int) -> NDArray[np.intp]:
        """The whole batch's: a window of its round's permutation."""
        turn, place = divmod(step, len(self.members) // self.identities)
        order = np.random.default_rng((self.seed, self.epoch, 0, turn)).permutation(len(self.members))
        return order[place * self.identities : (place + 1) * self.identities]

    def _photographs(self, identity: int, step: int) -> NDArray[np.intp]:
        random = np.random.default_rng((self.seed, self.epoch, 1, step, identity))
        own = self.members[identity]
        rounds = [random.permutation(own) for _ in range(0, self.photographs, len(own))]
        return np.concatenate(rounds)[: self.photographs]


def _members(labels: NDArray[np.generic]) -> list[NDArray[np.intp]]:
    """The indices of each identity that has two photographs or more, in the order of their labels."""
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    return [own for own in np.split(order, starts[1:]) if len(own) > 1]
