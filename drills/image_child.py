"""The process in which damaged photographs are decoded: under limits of its own, so that a decoder that runs away is
stopped, and one that crashes takes nobody with it."""

import argparse
import gc
import json
import os
import resource
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import psutil

from drills.mutations import mutated
from facesvc.errors import ImageError
from facesvc.models.packs import Packs
from facesvc.pipeline.decode import DecodeLimits, decode
from facesvc.pipeline.detect import open_detector

LIMITS = DecodeLimits(max_bytes=20 * 2**20, max_pixels=50_000_000)
"""The service's defaults."""
MEMORY = 6 * 2**30
"""Bytes of address space: libraries map several hundred megabytes, a photograph of 50 megapixels takes 400."""
SECONDS_OF_CPU = 1200
WARM_UP = 0.2
"""Share of the files after which memory is first measured."""


def measure(files: dict[str, bytes], count: int, seed: int, packs: Path, at: Path) -> dict[str, Any]:
    """What came of ``count`` damaged files: outcomes, the slowest, memory. at: file that names the one in work."""
    cv2.setNumThreads(1)
    detector = open_detector("yunet", Packs(packs).detector_file)
    outcomes: Counter[str] = Counter()
    slowest, warm = (0.0, 0), 0
    with at.open("w") as current:
        for number in range(count):
            current.seek(0)
            current.write(f"{number:>9}")
            current.flush()
            start = time.perf_counter()
            outcomes[outcome(mutated(number, seed, files), detector.detect)] += 1
            slowest = max(slowest, (time.perf_counter() - start, number))
            if number == int(count * WARM_UP):
                warm = resident()
    return {"outcomes": outcomes, "slowest": slowest, "warm": warm, "end": resident()}


def outcome(data: bytes, detect: Any) -> str:
    """A code of ImageError, "decoded", or the name of an exception that nobody should meet."""
    try:
        detect(decode(data, LIMITS).pixels)
    except ImageError as error:
        return error.code
    except Exception as error:  # the finding that this process is there for
        return f"LEAKED {type(error).__name__}: {error}"
    return "decoded"


def resident() -> int:
    """Bytes of memory in use now."""
    gc.collect()
    return psutil.Process().memory_info().rss


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("packs", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_OF_CPU, SECONDS_OF_CPU))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = {path.name: path.read_bytes() for path in sorted((asked.folder / "good").iterdir())}
    run = partial(measure, files, asked.count, asked.seed, asked.packs)
    print(json.dumps(run(asked.folder / "current")), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
