"""A training run's settings: a TOML file (or a shipped recipe's name) and ``--set key=value`` on top of it.

Learning rate over a run, as a factor of the configured rate.
"""

import math
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facesvc.errors import RequestError
from training.data.augment import Augmentation
from training.losses import Rule


class ScheduleConfig(BaseModel):
    """kind: ``cosine`` falls from 1 to ``floor`` by half a cosine, ``step`` is multiplied by ``gamma`` at each of the
    ``milestones`` (shares of the run, 0..1), ``constant`` stays. warm_up: share of the run in which the factor grows
    linearly to 1 before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cosine", "step", "constant"] = "cosine"
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    floor: float = Field(default=0.01, ge=0, le=1)
    milestones: tuple[float, ...] = (0.6, 0.85)
    gamma: float = Field(default=0.1, gt=0, le=1)


def factor(schedule: ScheduleConfig, step: int, total: int) -> float:
    """Factor of the rate at ``step``, 0..total-1. A function of these alone, so resuming needs no state."""
    warm = round(schedule.warm_up * total)
    if step < warm:
        return (step + 1) / warm
    if schedule.kind == "step":
        return schedule.gamma ** sum(step >= milestone * total for milestone in schedule.milestones)
    if schedule.kind == "cosine":
        done = (step - warm) / max(total - warm, 1)
        return schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * done)) / 2
    return 1.0


RECIPES = Path(__file__).parent / "recipes"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BatchConfig(_Part):
    """A batch is ``identities`` x ``photographs`` chips, over all processes; an epoch is ``steps`` of them."""

    identities: int = Field(default=24, ge=2)
    photographs: int = Field(default=4, ge=2)
    steps: int = Field(default=40, ge=1)


class LossConfig(_Part):
    """See ``training.losses``. collapse_steps: steps at the margin in a row that count as a collapse."""

    margin: float = Field(default=0.2, gt=0, lt=4)
    rule: Rule = "semi-hard"
    collapse_steps: int = Field(default=50, ge=1)


class OptimiserConfig(_Part):
    """rate: peak learning rate; decay: weight decay (of weights, not of biases and norms); clip: largest norm of the
    gradient, None for no clipping; momentum: SGD's; ema: decay per step of the averaged weights, None for none."""

    kind: Literal["adamw", "sgd"] = "adamw"
    rate: float = Field(default=1e-3, gt=0)
    decay: float = Field(default=1e-4, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    clip: float | None = Field(default=1.0, gt=0)
    ema: float | None = Field(default=0.995, gt=0, lt=1)


class ValidationConfig(_Part):
    """share: expected share of the people held out, by ``training.data.splits`` with ``split_seed``; every: epochs
    between validations; patience: validations without a better TAR before stopping early, None for never; fmr: where
    TAR is taken; photographs: at most so many are compared with each other (taken evenly)."""

    share: float = Field(default=0.2, ge=0, lt=1)
    split_seed: int = 0
    every: int = Field(default=1, ge=1)
    patience: int | None = Field(default=None, ge=1)
    fmr: float = Field(default=1e-2, gt=0, lt=1)
    photographs: int = Field(default=4000, ge=2)


class DistillationConfig(_Part):
    """A teacher's unit vectors (n 128) float32 in a .npy file, in the order of the aligned set. The loss gains
    ``weight`` times the mean squared L2 distance between student and teacher; ``triplet`` weighs its triplet part."""

    templates: Path
    weight: float = Field(default=1.0, gt=0)
    triplet: float = Field(default=1.0, ge=0)


class TrainConfig(_Part):
    """backbone: a name of ``training.backbones``; pretrained: its source of weights; size: side of the chips it is
    given, px, None for the backbone's own. precision: auto is bfloat16 autocast on CUDA and float32 elsewhere.
    workers: processes that augment, 0 for none beside the trainer; threads: torch's, None for its default."""

    backbone: str
    pretrained: str | None = None
    size: int | None = Field(default=None, ge=16)
    epochs: int = Field(default=20, ge=1)
    seed: int = Field(default=0, ge=0)
    batch: BatchConfig = BatchConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    validation: ValidationConfig = ValidationConfig()
    augmentation: Augmentation = Augmentation()
    distillation: DistillationConfig | None = None
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)

    @property
    def total_steps(self) -> int:
        return self.epochs * self.batch.steps

    def identity(self) -> dict[str, Any]:
        """All that decides what is learnt: everything but where and how fast it runs."""
        return self.model_dump(mode="json", exclude={"device", "workers", "threads"})


def load_config(source: str, overrides: Iterable[str] = ()) -> TrainConfig:
    """source: a TOML file, or the name of a recipe in ``training/recipes``. overrides: ``key=value`` with dots into the
    parts and TOML's spelling of values, ``batch.steps=10`` or ``loss.rule=hard``.

    Raises RequestError, naming each setting that is wrong.
    """
    settings = _read(source)
    for override in overrides:
        _apply(settings, override)
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise RequestError(f"{source}: {wrong}") from error


def recipes() -> list[str]:
    """Names of the shipped recipes that are a TrainConfig's; a head's is another kind."""
    return sorted(path.stem for path in RECIPES.glob("*.toml") if "backbone" in tomllib.loads(path.read_text("utf-8")))


def _read(source: str) -> dict[str, Any]:
    recipe = RECIPES / f"{source}.toml"
    file = recipe if recipe.is_file() else Path(source)
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RequestError(f"{source} is neither a file nor a recipe; recipes: {', '.join(recipes())}") from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, not TOML
        raise RequestError(f"{source} can't be read as TOML: {error}") from error


def _apply(settings: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    *parts, name = path.strip().split(".")
    if not separator or not name:
        raise RequestError(f"{override}: settings are given as key=value")
    for part in parts:
        settings = settings.setdefault(part, {})
        if not isinstance(settings, dict):
            raise RequestError(f"{override}: {part} has no parts")
    settings[name] = _value(text.strip())


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word
