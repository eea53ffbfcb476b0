"""What one training step changes: the network, its averaged weights, the optimiser and the schedule.

Whatever is drawn by chance in a step is seeded by (seed, step, rank), so the state between two steps is in ``state()``
and nowhere else: a run that was stopped and resumed gives, on a CPU, the same bits as one that was not.
"""

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from training.config import OptimiserConfig, TrainConfig, factor
from training.losses import CollapseWatch, TripletLoss
from training.run.chips import Batch, seed_of
from training.run.distributed import World
from training.run.journal import Row


@dataclass
class Position:
    """Where a run stands. step: steps done; untrained_tar: of the network before its first step; best_tar, best_step:
    of the best validation; stale: validations since then; stuck: see CollapseWatch; seconds: spent so far."""

    step: int = 0
    untrained_tar: float | None = None
    best_tar: float | None = None
    best_step: int = 0
    stale: int = 0
    stuck: int = 0
    seconds: float = 0.0


@dataclass
class Learner:
    """network: (n 3 s s) float32 -> (n 128) unit float32; teacher: (n 128) unit, of all the aligned set's chips, in the
    order of the set."""

    config: TrainConfig
    network: nn.Module
    world: World
    teacher: Tensor | None = None
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        config = self.config
        self.network = self.world.shared_statistics(self.network.to(self.world.device)).train()
        self.ema = _average(self.network, config.optimiser.ema)
        self.model = self.world.parallel(self.network)
        self.optimiser = _optimiser(self.network, config.optimiser)
        self.schedule = LambdaLR(self.optimiser, lambda step: factor(config.schedule, step, config.total_steps))
        self.loss = TripletLoss(config.loss.margin, config.loss.rule)
        self.watch = CollapseWatch(config.loss.margin, config.loss.collapse_steps)

    @property
    def judged(self) -> nn.Module:
        """The network that validation and export use: averaged weights where they are kept."""
        return self.network if self.ema is None else self.ema.module

    def step(self, batch: Batch) -> Row:
        """One step on this process's part of the batch. The row tells of the whole batch.

        Raises TrainingCollapsed, TrainingDiverged.
        """
        position, world = self.position, self.world
        torch.manual_seed(seed_of(self.config.seed, position.step, world.rank))  # dropout and the like
        vectors, labels, rows = self._forward(batch)
        result = self.loss(vectors, labels)
        total, distance = self._with_teacher(result.loss, vectors, rows)
        loss, rate = float(result.loss.detach()), self.optimiser.param_groups[0]["lr"]
        self.watch.see(loss, result.triplets, result.spread)
        self._update(total * world.size)
        position.step, position.stuck = position.step + 1, self.watch.stuck
        epoch = (position.step - 1) // self.config.batch.steps
        return Row(position.step, epoch, loss, distance, result.active, result.triplets, result.spread, rate)

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors, labels and rows of the whole batch, from all processes."""
        device, gather = self.world.device, self.world.gather
        with _autocast(self.config, device):
            vectors = self.model(batch.images.to(device, non_blocking=True))
        return gather(vectors.float()), gather(batch.labels.to(device)), gather(batch.rows.to(device))

    def _with_teacher(self, loss: Tensor, vectors: Tensor, rows: Tensor) -> tuple[Tensor, float | None]:
        distillation = self.config.distillation
        if distillation is None or self.teacher is None:
            return loss, None
        distance = (vectors - self.teacher[rows.to(self.teacher.device)].to(vectors)).square().sum(1).mean()
        return distillation.triplet * loss + distillation.weight * distance, float(distance.detach())

    def _update(self, loss: Tensor) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        if self.config.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.clip)
        self.optimiser.step()
        self.schedule.step()
        if self.ema is not None:
            self.ema.update_parameters(self.network)

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "position": asdict(self.position),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what ``state`` gave, on whatever device it lies."""
        self.network.load_state_dict(state["network"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.position = Position(**state["position"])
        self.watch.stuck = self.position.stuck


def _average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    """Early on the decay is (1 + steps) / (10 + steps), as in TensorFlow's ExponentialMovingAverage: otherwise the
    untrained weights weigh for long."""
    if decay is None:
        return None

    def blend(average: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not new.is_floating_point():
            return new  # batch norm's counter
        return average.lerp(new, 1 - min(decay, (1 + int(count)) / (10 + int(count))))

    average = AveragedModel(network, avg_fn=blend, use_buffers=True)
    average.eval()
    return average


def _optimiser(network: nn.Module, config: OptimiserConfig) -> Optimizer:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": config.decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.kind == "sgd":
        return SGD(groups, config.rate, momentum=config.momentum)
    return AdamW(groups, config.rate)


def _autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    auto = device.type == "cuda" and torch.cuda.is_bf16_supported()
    mixed = config.precision == "bfloat16" or (config.precision == "auto" and auto)
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)
