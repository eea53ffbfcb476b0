"""The loop that every contender runs; it imports nothing but the standard library."""

import json
import sys
from collections.abc import Callable
from time import perf_counter

Compare = Callable[[str, str], tuple[float, dict[str, float]]]


def answer(compare: Compare) -> None:
    """compare(file, file) -> (distance, milliseconds by stage)."""
    print("ready", flush=True)
    for line in sys.stdin:
        a, b = line.rstrip("\n").split("\t")
        start = perf_counter()
        distance, stages = compare(a, b)
        print(json.dumps({"ms": (perf_counter() - start) * 1000, "stages": stages, "distance": distance}), flush=True)
