"""A few rounds of what `python -m tests.faults.rounds` does hundreds of."""

from collections import Counter

import pytest

from tests.faults.ground import Outcome
from tests.faults.rounds import DATABASES, hold

ROUNDS = 12


@pytest.mark.slow
def test_killed_at_random_nothing_is_lost() -> None:
    told: list[Outcome] = []
    report = hold(ROUNDS, seed=4, databases=DATABASES, real=None, told=told.append)
    assert report.violations == []
    assert told == report.outcomes
    assert Counter(outcome.database for outcome in told) == {"sqlite": 6, "postgresql": 6}
    assert {outcome.kind for outcome in told} == {"alone", "beside another"}
    assert report.summary()["acknowledged"] > 50
