"""Choosing a device, and batch norm over several processes against torch's over one batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn

from facesvc.errors import RequestError
from training.run.distributed import World, pick_device, synchronised

WORLD = 2


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(RequestError, match="unknown device abacus"):
        pick_device("abacus")
    with pytest.raises(RequestError, match="no CUDA device 99 here"):
        pick_device("cuda:99")


def test_a_world_of_one_changes_nothing() -> None:
    world, network, vectors = World(0, 1, torch.device("cpu")), nn.BatchNorm1d(3), torch.randn(2, 3)
    assert world.gather(vectors) is vectors
    assert world.parallel(world.shared_statistics(network)) is network
    assert (world.any(True), world.any(False), world.from_first(0.25)) == (True, False, 0.25)


def images() -> Tensor:
    return torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 + 7


def norm() -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(3, momentum=0.3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        layer.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))
    return layer


def part(rank: int, store: str) -> None:
    """A process's half: forward, backward of a loss over the whole batch, and its buffers, written to ``store``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    world, layer = World(rank, WORLD, torch.device("cpu")), norm()
    shared = world.shared_statistics(nn.Sequential(layer))
    mine = images().chunk(WORLD)[rank].requires_grad_()
    out = shared(mine)
    whole = world.gather(out)
    (whole * whole.roll(1, 0)).sin().sum().backward()
    assert mine.grad is not None
    assert layer.weight.grad is not None
    result = {
        "out": out.detach(),
        "gradient": mine.grad,
        "weight_gradient": layer.weight.grad,
        **shared[0].state_dict(),
    }
    result |= {
        "any": torch.tensor([world.any(rank == 1), world.any(False)]),
        "first": torch.tensor(world.from_first(rank + 0.5)),
    }
    torch.save(result, f"{store}.{rank}")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_normalise_differentiate_and_agree_as_one_would(tmp_path: Path) -> None:
    multiprocessing.start_processes(part, (str(tmp_path / "store"),), WORLD, start_method="spawn")
    found = [torch.load(tmp_path / f"store.{rank}") for rank in range(WORLD)]
    layer, whole = norm(), images().requires_grad_()
    out = layer(whole)
    (out * out.roll(1, 0)).sin().sum().backward()
    assert whole.grad is not None
    assert layer.weight.grad is not None
    torch.testing.assert_close(torch.cat([each["out"] for each in found]), out.detach())
    torch.testing.assert_close(torch.cat([each["gradient"] for each in found]), whole.grad)
    torch.testing.assert_close(found[0]["weight_gradient"] + found[1]["weight_gradient"], layer.weight.grad)
    for each in found:
        torch.testing.assert_close(each["running_mean"], layer.running_mean)
        torch.testing.assert_close(each["running_var"], layer.running_var)
        assert each["num_batches_tracked"].item() == 1
        assert (each["any"].tolist(), each["first"].item()) == ([True, False], 0.5)


def test_alone_a_synchronised_network_is_torch_s_own() -> None:
    network = synchronised(nn.Sequential(nn.Conv2d(3, 3, 1, dtype=torch.float64), norm()))
    assert list(network.state_dict()) == list(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).state_dict())
    torch.testing.assert_close(network[1](images()), norm()(images()))
