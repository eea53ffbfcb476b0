"""A training run from its first step, or from where it was stopped, to its summary.

SIGTERM and SIGINT as a request to stop after the step at hand.
"""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from facesvc.core.types import DIMENSION
from facesvc.errors import RequestError
from training.aligned import AlignedSet
from training.config import TrainConfig
from training.data import augment
from training.run.checkpoint import digest, load_checkpoint, save_checkpoint, save_weights
from training.run.chips import Supply
from training.run.distributed import World, join
from training.run.journal import Journal, Row, Show, display
from training.run.learner import Learner
from training.run.sides import Sides
from training.run.validation import Validation

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Interruption:
    """signal: the one that asked to stop, None while none has."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.signal = number


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Catches the signals while it lasts, in the main thread; elsewhere they can't be caught and mean what they did."""
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, asked._ask) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Ending = Literal["finished", "early", "interrupted"]
CHECKPOINT, WEIGHTS = "checkpoint.pt", "best.safetensors"


@dataclass(frozen=True, slots=True)
class Summary:
    """ending: finished, early (no better TAR for the configured patience) or interrupted (by a signal; resume goes on).

    TARs at ``fmr`` over all pairs of the held-out people's photographs, None where nobody was held out; the best is the
    best of all validations on these same people, and best_interval its 95 % bootstrap interval over them, None while
    interrupted; seconds: wall
    time with validation; images_per_second: over that time; people, photographs: trained on; validation_*: held out.
    """

    ending: Ending
    steps: int
    untrained_tar: float | None
    best_tar: float | None
    best_interval: tuple[float, float] | None
    best_step: int
    fmr: float
    seconds: float
    images_per_second: float
    parameters: int
    people: int
    photographs: int
    validation_people: int
    validation_photographs: int
    signal: int | None = None


def train(
    config: TrainConfig, data: AlignedSet, output: Path, resume: bool = False, network: nn.Module | None = None
) -> Summary:
    """Trains ``network`` (None: the configured backbone) on the set's training side and judges it on the other.

    output: a folder for config.json, metrics.csv, curves.png, tensorboard/, checkpoint.pt, best.safetensors (state dict
    of the best validation, averaged weights where they are kept) and summary.json; under torchrun over several hosts,
    on a file system that all share. resume: goes on from the checkpoint there, if there is one.
    Raises RequestError, TrainingError.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with join(config.device) as world, interruption() as asked, ExitStack() as opened:
        run = Run(config, data, output, world, network or _backbone(config))
        run.prepare(resume)
        if world.first:
            done = run.learner.position.step
            run.journal = opened.enter_context(Journal(output, done if done else None))
            run.show = opened.enter_context(display(config.total_steps, done))
        summary = run.summary(run.go(asked), asked.signal)
        if world.first:
            (output / "summary.json").write_text(json.dumps(asdict(summary), indent=2) + "\n", "utf-8")
        return summary


class Run:
    """journal, show: the first process's."""

    def __init__(self, config: TrainConfig, data: AlignedSet, output: Path, world: World, network: nn.Module) -> None:
        self.config, self.output, self.world = config, output, world
        self.sides = Sides.of(data.subjects, config.validation)
        size = config.size or _input_size(network)
        teacher = _teacher(config, len(data.subjects))
        self.identity = _identity(config, data, network, teacher)
        self.learner = Learner(config, network, world, teacher)
        chips, labels = data.chips, self.sides.labels
        augmented = augment.build(config.augmentation, size, data.margin)
        self.supply = Supply(chips, labels, self.sides.train, augmented, config, world)
        plain, fmr = augment.plain(size, data.margin), config.validation.fmr
        self.validation = Validation(chips, labels, self.sides.validation, plain, fmr, world.device)
        self.journal: Journal | None = None
        self.show: Show = lambda row: None
        self.started = time.perf_counter()

    def prepare(self, resume: bool) -> None:
        """The folder, and the state of the run in it that is to go on. Raises RequestError, CheckpointUnusable."""
        checkpoint = self.output / CHECKPOINT
        if checkpoint.exists() and not resume:
            raise RequestError(f"{self.output} holds a run already: resume it, or name another folder")
        if checkpoint.exists():
            self.learner.restore(load_checkpoint(checkpoint, self.identity))
        if self.world.first:
            self.output.mkdir(parents=True, exist_ok=True)
            (self.output / "config.json").write_text(self.config.model_dump_json(indent=2) + "\n", "utf-8")
        self.started = time.perf_counter() - self.learner.position.seconds

    def go(self, asked: Interruption) -> Ending:
        """All steps that are left."""
        position, config = self.learner.position, self.config
        if position.step == 0:
            position.untrained_tar = self.measure()
            self.record(Row(0, 0, tar=position.untrained_tar))
        while position.step < config.total_steps:
            if self.tired():
                return "early"
            if self.epoch(asked):
                return "interrupted"
        return "finished"

    def epoch(self, asked: Interruption) -> bool:
        """The rest of the epoch, its validation and checkpoint. True where a signal asked to stop before its end."""
        position, steps = self.learner.position, self.config.batch.steps
        number, done = divmod(position.step, steps)
        began = time.perf_counter()
        for batch in self.supply.epoch(number, done):
            row = self.learner.step(batch)
            now = time.perf_counter()
            row = replace(row, images_per_second=len(batch.labels) * self.world.size / (now - began))
            last = position.step % steps == 0
            self.record(replace(row, tar=self.judge()) if last else row)
            if not last and self.world.any(bool(asked)):
                self.save()
                return True
            began = time.perf_counter()
        self.save()
        return self.world.any(bool(asked)) and position.step < self.config.total_steps

    def judge(self) -> float | None:
        """The validation that is due after an epoch, if one is; keeps the weights where they are the best so far."""
        position, config = self.learner.position, self.config
        epochs = position.step // config.batch.steps
        if epochs % config.validation.every and epochs != config.epochs:
            return None
        tar = self.measure()
        if tar is None or position.best_tar is None or tar > position.best_tar:
            position.best_tar, position.best_step, position.stale = tar, position.step, 0
            self.keep()
        else:
            position.stale += 1
        return tar

    def measure(self) -> float | None:
        """TAR of the held-out people, by the first process for all; None where there are too few."""
        if not self.sides.can_validate:
            return None
        return self.world.from_first(self.validation.tar(self.learner.judged) if self.world.first else 0.0)

    def tired(self) -> bool:
        patience = self.config.validation.patience
        return patience is not None and self.learner.position.stale >= patience

    def record(self, row: Row) -> None:
        if self.journal:
            self.journal.write(row)
        self.show(row)

    def keep(self) -> None:
        if self.world.first:
            save_weights(self.output / WEIGHTS, self.learner.judged.state_dict())

    def save(self) -> None:
        """The checkpoint, after the rows that lead to it."""
        self.learner.position.seconds = time.perf_counter() - self.started
        if self.journal:
            self.journal.flush()
            save_checkpoint(self.output / CHECKPOINT, {"identity": self.identity, **self.learner.state()})

    def best_interval(self) -> tuple[float, float] | None:
        """By the first process alone, and after the last step: it puts the best weights where the last ones were."""
        if not (self.world.first and self.sides.can_validate):
            return None
        self.learner.judged.load_state_dict(load_file(self.output / WEIGHTS))
        return self.validation.interval(self.learner.judged)

    def summary(self, ending: Ending, signal: int | None) -> Summary:
        position, sides = self.learner.position, self.sides
        seen = position.step * self.config.batch.identities * self.config.batch.photographs
        return Summary(
            ending=ending,
            steps=position.step,
            untrained_tar=position.untrained_tar,
            best_tar=position.best_tar,
            best_interval=None if ending == "interrupted" else self.best_interval(),
            best_step=position.best_step,
            fmr=self.config.validation.fmr,
            seconds=position.seconds,
            images_per_second=seen / position.seconds if position.seconds else 0.0,
            parameters=sum(parameter.numel() for parameter in self.learner.network.parameters()),
            people=len(np.unique(sides.labels[sides.train])),
            photographs=len(sides.train),
            validation_people=len(np.unique(sides.labels[sides.validation])),
            validation_photographs=len(sides.validation),
            signal=signal if ending == "interrupted" else None,
        )


def _backbone(config: TrainConfig) -> nn.Module:
    from training.backbones import build_backbone

    return build_backbone(config.backbone, pretrained=config.pretrained, seed=config.seed, size=config.size)


def _input_size(network: nn.Module) -> int:
    size = getattr(network, "input_size", None)
    if not isinstance(size, int):
        raise RequestError("the network names no input_size, and the config no size")
    return size


def _teacher(config: TrainConfig, chips: int) -> Tensor | None:
    """(n 128) float32. Raises RequestError for a file that doesn't fit the set."""
    if config.distillation is None:
        return None
    file = config.distillation.templates
    try:
        templates = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} can't be read as a .npy array: {error}") from error
    if templates.shape != (chips, DIMENSION) or templates.dtype != np.float32:
        raise RequestError(f"{file}: {templates.dtype} {templates.shape}, wanted float32 {(chips, DIMENSION)}")
    if not np.allclose(np.linalg.norm(templates, axis=1), 1, atol=1e-3):
        raise RequestError(f"{file}: the teacher's templates must be of unit length")
    return torch.from_numpy(templates)


def _identity(config: TrainConfig, data: AlignedSet, network: nn.Module, teacher: Tensor | None) -> dict[str, str]:
    """What a checkpoint must share with a run that goes on from it."""
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in network.state_dict().items()]
    return {
        "config": digest(json.dumps(config.identity(), sort_keys=True)),
        "data set": digest(str(data.chips.shape), *map(str, data.subjects), *map(str, data.files)),
        "network": digest(*shapes),
        "teacher": "" if teacher is None else digest(teacher.numpy().tobytes().hex()),
    }
