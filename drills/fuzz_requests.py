"""10,000 hostile requests to a real server: half made from its OpenAPI document, of the right shape and of wrong ones,
half damaged as bytes. It goes on, answers none of them with 500, and its memory stays flat."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from drills.ground import Real, Served, prepared, serving
from drills.raw_requests import damaged, good_requests, send
from tests.support.hostile import jpeg, opened
from tests.support.snapshot import SNAPSHOT

COUNT, SEED = 10_000, 20_260
CLIENTS = 8
PATIENCE = 1.0
"""Seconds that a client waits for an answer to a damaged request; most that have none are cut short."""
ROUNDS = 5
ALL: list[HealthCheck] = [*HealthCheck]  # type: ignore[misc]
GROWTH = 96 * 2**20
"""Bytes that memory may grow by after the second round."""


@dataclass(frozen=True)
class Found:
    """made, raw: statuses and how often; failures: log lines of requests that failed; sizes: bytes of memory after each
    round."""

    made: Counter[str]
    raw: Counter[str]
    failures: list[str]
    sizes: list[int]

    def line(self, seed: int) -> str:
        def told(statuses: Counter[str]) -> str:
            return (
                f"{statuses.total()} ({', '.join(f'{status} {times}' for status, times in sorted(statuses.items()))})"
            )

        return (
            f"from the schema {told(self.made)}, as bytes {told(self.raw)} (seed {seed}): 0 crashes, 0 answers of 500; "
            f"memory {', '.join(f'{size / 2**20:.0f}' for size in self.sizes)} MiB after each part"
        )


def fuzz(folder: Path, real: Real, count: int, seed: int = SEED, **changes: object) -> Found:
    """Half of ``count`` requests of each sort, in ROUNDS rounds."""
    made: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    with serving(folder, real, **changes) as served:
        photograph = jpeg(opened(real.photographs["obama2"]).resize((156, 300)))
        good, sizes = good_requests(photograph, served.headers), []
        for number in range(ROUNDS):
            share = count // 2 // ROUNDS
            made += from_schema(served, share, seed + number)
            raw += as_bytes(served, good, share, seed + number)
            sizes.append(served.resident())
        assert served.process.is_running(), "the server ended"
        assert httpx.get(f"{served.url}/readyz").status_code == 200
    failures = [line for line in served.log.read_text().splitlines() if is_failure(line)]
    return Found(made, raw, failures, sizes)


def is_failure(line: str) -> bool:
    return "request failed" in line or '"status": 500' in line or line.startswith("Traceback")


def from_schema(served: Served, count: int, seed: int) -> Counter[str]:
    """``count`` requests, spread over the operations, of right and of wrong shape."""
    schema = schemathesis.openapi.from_path(str(SNAPSHOT))
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    kinds = [(operation, mode) for operation in operations for mode in GenerationMode]
    statuses: Counter[str] = Counter()
    while statuses.total() < count:  # operations without parameters yield less than their share
        each = max(1, (count - statuses.total()) // len(kinds))
        for operation, mode in kinds:
            wanted = min(each, count - statuses.total())
            if wanted:
                statuses.update(asked(served, operation, mode, wanted, seed + statuses.total()))
    return statuses


def asked(served: Served, operation: Any, mode: GenerationMode, count: int, seed: int) -> Iterator[str]:
    """Statuses of ``count`` requests of one operation, or of fewer where there are not as many."""
    cases: list[Any] = []

    @seeded(seed)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=ALL)
    @given(operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        cases.append(case)

    with suppress(Unsatisfiable):  # nothing can be wrong with a request that has no parameters
        collect()
    for case in cases:
        yield str(case.call(base_url=served.url, headers=dict(served.headers)).status_code)


def as_bytes(served: Served, good: list[bytes], count: int, seed: int) -> Counter[str]:
    requests = [damaged(Random(f"{seed}/{number}"), good) for number in range(count)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        return Counter(clients.map(lambda data: send(served.address, data, PATIENCE), requests))


def require(found: Found) -> None:
    """Raises AssertionError for a failure of the service."""
    assert not found.failures, f"{len(found.failures)} failures, such as: {found.failures[0][:1500]}"
    assert not {"500", "refused"} & (found.made.keys() | found.raw.keys()), (found.made, found.raw)
    assert found.sizes[-1] - found.sizes[1] < GROWTH, f"memory grew: {found.sizes} bytes"


def run(folder: Path) -> str:
    found = fuzz(folder / "data", prepared(), COUNT)
    require(found)
    return found.line(SEED)
