"""The drill of one tenant who looks for another's, smaller: fewer requests of schemathesis's, and no verdict on time
beyond what few requests can bear."""

import re
from pathlib import Path

import numpy as np
import pytest

from drills.cross_tenant import drill
from drills.ground import Real
from drills.timing import compare, longer


@pytest.mark.slow
def test_nothing_is_learned_of_another_tenant(tmp_path: Path, real: Real) -> None:
    line = drill(tmp_path / "data", real, examples=3, rounds=100, most_apart=0.2)
    found = re.match(r"(\d+) parameters of operations by hand, (\d+) requests by schemathesis .*: 0 leaks", line)
    assert found is not None
    assert int(found[1]) >= 45
    assert int(found[2]) >= 100


class Clock:
    """Shows what it was told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_times_that_differ_are_told_apart() -> None:
    assert longer(np.array([2.0, 2.0]), np.array([1.0, 2.0])) == 0.75
    assert longer(np.arange(100.0), np.arange(100.0)) == 0.5
    clock = Clock()
    found = compare("", lambda: clock.pass_by(2.0), lambda: clock.pass_by(8.0), 30, 1, clock)
    assert (found.ratio, found.apart) == (0.25, 0.5)
    found = compare("", lambda: clock.pass_by(3.0), lambda: clock.pass_by(3.0), 30, 1, clock)
    assert (found.ratio, found.apart) == (1.0, 0.0)
