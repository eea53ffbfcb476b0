"""A third of a minute of what the drill does for five."""

from pathlib import Path

import pytest

from drills import load
from drills.ground import Real
from drills.offered import percentile


@pytest.mark.slow
def test_twice_the_capacity(tmp_path: Path, real: Real) -> None:
    found = load.measure(tmp_path / "data", real, seconds=20)
    load.require(found)
    assert len(found.seconds(200, 201)) > 20 * found.capacity / 3, found.line()


def test_percentiles() -> None:
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 3.0
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0
    assert percentile([], 0.99) == 0.0
