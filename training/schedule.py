"""Learning rate over a run, as a factor of the configured rate."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
