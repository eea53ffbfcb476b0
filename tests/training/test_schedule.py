"""Learning rates over a run, by their formulas."""

import math

import pytest

from training.config import ScheduleConfig, factor


def test_warm_up_grows_linearly_to_one_and_the_cosine_falls_to_its_floor() -> None:
    schedule = ScheduleConfig(kind="cosine", warm_up=0.1, floor=0.01)
    factors = [factor(schedule, step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.01 + 0.99 / 2)
    assert factors[99] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 89 / 90)) / 2)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_steps_at_their_milestones() -> None:
    schedule = ScheduleConfig(kind="step", warm_up=0, milestones=(0.5, 0.8), gamma=0.1)
    factors = [factor(schedule, step, 10) for step in range(10)]
    assert factors == pytest.approx([1] * 5 + [0.1] * 3 + [0.01] * 2)


def test_constant_after_warm_up() -> None:
    schedule = ScheduleConfig(kind="constant", warm_up=0.25)
    assert [factor(schedule, step, 8) for step in range(8)] == [0.5, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["cosine", "step", "constant"])
def test_a_run_of_one_step_runs_at_the_full_rate(kind: str) -> None:
    assert factor(ScheduleConfig.model_validate({"kind": kind}), 0, 1) == 1.0
