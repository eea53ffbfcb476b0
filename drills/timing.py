"""Whether two requests can be told apart by the time that their answers take."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from time import perf_counter

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Compared:
    """ratio: of the first's time to the second's, the median over pairs that were asked one after the other, so that
    what else the machine does falls out; apart: how far from 0.5 the probability is that the first takes longer
    (Mann-Whitney's U over both counts; half the ties)."""

    name: str
    ratio: float
    apart: float


def compare(
    name: str,
    first: Callable[[], object],
    second: Callable[[], object],
    rounds: int,
    seed: int,
    clock: Callable[[], float] = perf_counter,
) -> Compared:
    """Asks both ``rounds`` times, in turn, in an order of which neither has the advantage."""
    chance = Random(seed)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for which in chance.sample((False, True), 2):
            start = clock()
            (second if which else first)()
            times[which].append(clock() - start)
    a, b = np.array(times[False]), np.array(times[True])
    return Compared(name, float(np.median(a / b)), abs(longer(a, b) - 0.5))


def longer(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How often one of ``a`` is longer than one of ``b``."""
    difference = a[:, None] - b[None, :]
    return float(np.mean(difference > 0) + np.mean(difference == 0) / 2)
