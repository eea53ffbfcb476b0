"""Data parallelism: one process per device, started by torchrun; one process alone is the case of size 1.

Every process computes the loss of the *whole* batch from all processes' vectors, with a gradient through its own.

Batch normalisation over the batches of all processes, for devices that torch's SyncBatchNorm doesn't serve (CPU).

Without it each process would normalise by its own share of the batch, and two processes would train another network
than one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.distributed.distributed_c10d import get_node_local_rank
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from facesvc.errors import RequestError


class _SumOverProcesses(Function):
    """Sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class SynchronisedBatchNorm(_BatchNorm):
    """(n c ...) -> the same. Mean and variance in two passes (no difference of large squares), over all processes."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes after the channels."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        over = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        count = input.numel() // input.shape[1] * dist.get_world_size()  # every process holds as many
        mean = _total(input.sum(over)) / count
        centred = input - mean.view(shape)
        variance = _total(centred.square().sum(over)) / count
        self._remember(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            return centred * (scale * self.weight).view(shape) + self.bias.view(shape)
        return centred * scale.view(shape)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _total(tensor: Tensor) -> Tensor:
    result = _SumOverProcesses.apply(tensor)
    assert isinstance(result, Tensor)
    return result


def synchronised(network: nn.Module) -> nn.Module:
    """The network with every batch norm layer replaced by one over all processes, sharing parameters and buffers."""
    if isinstance(network, _BatchNorm):
        return _converted(network)
    for name, child in network.named_children():
        setattr(network, name, synchronised(child))
    return network


def _converted(layer: _BatchNorm) -> SynchronisedBatchNorm:
    new = SynchronisedBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    new._parameters, new._buffers, new.training = layer._parameters, layer._buffers, layer.training
    return new


@dataclass(frozen=True, slots=True)
class World:
    """rank: this process's number, 0..size-1; device: where its network lies."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process validates, logs and writes files for all."""
        return self.rank == 0

    def gather(self, tensor: Tensor) -> Tensor:
        """(n ...) of every process, in order of rank -> (size * n ...); the gradient flows into this one's part."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.detach().contiguous())
        parts[self.rank] = tensor
        return torch.cat(parts)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network as training should call it: batch norm over the whole batch, gradients averaged over processes.

        Since ``gather`` gives each process its own part of the gradient alone, and the parts are to be summed, the loss
        must be multiplied by ``size``.
        """
        if self.size == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids, forward_sync_buffers=False)

    def shared_statistics(self, network: nn.Module) -> nn.Module:
        """The network with its batch norm layers replaced by ones that see the whole batch; same state dict."""
        if self.size == 1:
            return network
        if self.device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return synchronised(network)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process. All must ask."""
        if self.size == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value.item())

    def from_first(self, number: float) -> float:
        """The first process's number. All must ask."""
        if self.size == 1:
            return number
        value = torch.tensor(number, dtype=torch.float64, device=self.device)
        dist.broadcast(value, 0)
        return float(value.item())


@contextmanager
def join(device: str = "auto") -> Iterator[World]:
    """Joins the processes that torchrun started, if it did. device: auto, cpu, cuda or cuda:N.

    Raises RequestError for a device that is not there.
    """
    launched = dist.is_torchelastic_launched() and not dist.is_initialized()
    place = pick_device(device, get_node_local_rank(0))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if launched:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        together = dist.is_initialized()
        yield World(dist.get_rank() if together else 0, dist.get_world_size() if together else 1, place)
    finally:
        if launched:
            dist.destroy_process_group()


def pick_device(device: str, local_rank: int = 0) -> torch.device:
    """auto: the local rank's GPU where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise RequestError(f"unknown device {device}") from error
    if place.type == "cuda":
        index = local_rank if place.index is None else place.index
        if not 0 <= index < torch.cuda.device_count():
            raise RequestError(f"no CUDA device {index} here")
        return torch.device("cuda", index)
    return place
