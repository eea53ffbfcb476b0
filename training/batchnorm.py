"""Batch normalisation over the batches of all processes, for devices that torch's SyncBatchNorm doesn't serve (CPU).

Without it each process would normalise by its own share of the batch, and two processes would train another network
than one.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm


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
