"""Two processes under torchrun learn what one does: the same global batches, the same loss curve, the same network.

What is compared has batch norm (synchronised over the processes, also on CPUs) and augmentation, and no dropout, whose
chance is each process's own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.test_trainer import config, people, small
from training.backbones.backbone import Backbone
from training.run.journal import read
from training.run.loop import train


def main(output: Path) -> None:
    """The same run, in however many processes."""
    train(config(optimiser={"rate": 1e-3, "ema": 0.9}), people(), output, network=start())


def start() -> Backbone:
    network = small()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def torchrun(output: Path, processes: int) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, "-m", "tests.unit.test_processes", str(output)],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("processes")
    main(folder / "one")
    torchrun(folder / "two", 2)
    return folder / "one", folder / "two"


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(runs: tuple[Path, Path]) -> None:
    one, two = (read(run / "metrics.csv")[1:] for run in runs)
    assert [row.step for row in two] == list(range(1, 22))
    assert [row.loss for row in two[:20]] == pytest.approx([row.loss for row in one[:20]], abs=1e-4)
    assert [row.spread for row in two[:20]] == pytest.approx([row.spread for row in one[:20]], abs=1e-3)
    assert [row.rate for row in two] == [row.rate for row in one]


@pytest.mark.slow
def test_two_processes_give_the_network_of_one(runs: tuple[Path, Path]) -> None:
    """Weights differ by under a hundredth of the way they went; running statistics of batch norm agree as well."""
    one, two = (torch.load(run / "checkpoint.pt", weights_only=True)["network"] for run in runs)
    before = start().state_dict()
    assert list(one) == list(two) == list(before)
    for name in one:
        moved, apart = (one[name] - before[name]).double().norm(), (two[name] - one[name]).double().norm()
        assert apart <= 0.01 * moved, name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
