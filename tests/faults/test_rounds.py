"""A few rounds of what `python -m drills.faults.rounds` does hundreds of."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from drills.faults.ground import PACK, Outcome, Real
from drills.faults.kinds import KINDS
from drills.faults.rounds import DATABASES, hold, open_stage

ROUNDS = 12


@pytest.mark.slow
def test_killed_at_random_nothing_is_lost() -> None:
    told: list[Outcome] = []
    report = hold(ROUNDS, seed=4, databases=DATABASES, real=None, told=told.append)
    assert report.violations == []
    assert told == report.outcomes
    assert Counter(outcome.database for outcome in told) == {"sqlite": 6, "postgresql": 6}
    assert {outcome.kind for outcome in told} <= {"alone", "beside another", "model change"}
    assert report.summary()["acknowledged"] > 50


@pytest.mark.slow
def test_models_change_while_processes_are_killed() -> None:
    report = hold(8, seed=3, databases=DATABASES, real=None, told=lambda _: None, only="model change")
    assert report.violations == []
    assert {outcome.kind for outcome in report.outcomes} == {"model change"}
    assert report.summary()["acknowledged"] > 30


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "enrol-folder", "identify"])
def test_the_real_programs_lose_nothing(kind: str, samples: Path, locked_build: Callable[[str], Path]) -> None:
    with open_stage("sqlite", Real(locked_build(PACK), samples)) as stage:
        outcomes = [KINDS[kind].hold(stage, Random(seed)) for seed in range(2 if kind == "server" else 1)]
    assert [outcome.violations for outcome in outcomes] == [[]] * len(outcomes)
    assert {(outcome.kind, outcome.database) for outcome in outcomes} == {(kind, "sqlite")}
