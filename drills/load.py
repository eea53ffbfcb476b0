"""Twice as much as the service can do, for five minutes: what it accepts it answers in time, the rest it refuses at
once and says when to come again, nothing that it acknowledged is lost, and its memory stays flat."""

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from drills.ground import Real, Served, prepared, serving
from drills.offered import Answered, offer, percentile, saturate
from tests.support.hostile import jpeg, opened

SECONDS = 300.0
WORKERS = 2
QUEUE_SECONDS = 1.0
WARM_UP = 2.0
WINDOW, WINDOWS = 3.0, 4
"""Seconds in which capacity is measured, and how often: the best counts, as others may use the same cores."""
FOLD = 2.0
"""How many times its capacity the service is offered."""
ENROLLING = 4
"""Each of so many requests enrols; the others identify."""
AT_ONCE = 0.5
"""Seconds in which nine of ten refusals come, beside everything else that is asked on the same cores. The others were
let in, and gave up when their patience ended: 99 of 100 within so much of that."""
GROWTH = 96 * 2**20
"""Bytes that memory may grow by from the first third on."""


@dataclass(frozen=True)
class Found:
    """capacity: requests a second; alone: p99 of their seconds without others waiting; lost: subjects acknowledged
    that are not there; sizes: bytes of memory, at the end of each third."""

    capacity: float
    alone: float
    answers: list[Answered]
    lost: int
    sizes: list[int]

    @property
    def promised(self) -> float:
        """Seconds: the longest wait for a turn, and the work itself, which others on the same cores make slower."""
        return QUEUE_SECONDS + FOLD * self.alone

    def seconds(self, *statuses: int) -> list[float]:
        return [answer.seconds for answer in self.answers if answer.status in statuses]

    def line(self) -> str:
        accepted, refused = self.seconds(200, 201), self.seconds(503)
        return (
            f"capacity {self.capacity:.1f} requests/s, offered {FOLD:g} times that: {len(accepted)} accepted, p50 "
            f"{percentile(accepted, 0.5):.2f} p99 {percentile(accepted, 0.99):.2f} s (promised {self.promised:.2f}); "
            f"{len(refused)} refused with 503 and Retry-After, p50 {percentile(refused, 0.5):.3f} p90 "
            f"{percentile(refused, 0.9):.3f} p99 {percentile(refused, 0.99):.3f} s; {self.lost} of the acknowledged "
            f"lost; memory {', '.join(f'{size / 2**20:.0f}' for size in self.sizes)} MiB after each third"
        )


class Asking:
    """Enrolments of ever new subjects, and identifications between them."""

    def __init__(self, photograph: bytes) -> None:
        self.photograph = photograph
        self.series = ""

    def __call__(
        self, client: aiohttp.ClientSession, number: int
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if number % ENROLLING:
            return client.post("/v1/identify", data=self._form("image", top_k="1"))
        path = f"/v1/galleries/default/subjects/{self.subject(number)}/references"
        return client.post(path, data=self._form("images", strict="false", face="largest"))

    def _form(self, name: str, **fields: str) -> aiohttp.FormData:
        form = aiohttp.FormData(fields)
        form.add_field(name, self.photograph, filename="photograph.jpg", content_type="image/jpeg")
        return form

    def subject(self, number: int) -> str:
        return f"{self.series}-{number}"


def measure(folder: Path, real: Real, seconds: float) -> Found:
    asking = Asking(jpeg(opened(real.photographs["obama2"]).resize((313, 600))))
    with serving(folder, real, workers=WORKERS, queue_seconds=QUEUE_SECONDS) as served:
        capacity, alone = asyncio.run(unhurried(served, asking))
        answers: list[Answered] = []
        acknowledged: set[str] = set()
        sizes = []
        for third in range(3):
            asking.series = f"load{third}"
            offered = offer(served.url, served.headers, asking, FOLD * capacity, seconds / 3)
            found = asyncio.run(offered)
            acknowledged |= {asking.subject(answer.number) for answer in found if answer.status == 201}
            answers += found
            sizes.append(served.resident())
        lost = acknowledged - subjects(served)
    return Found(capacity, alone, answers, len(lost), sizes)


async def unhurried(served: Served, asking: Asking) -> tuple[float, float]:
    """Requests a second that WORKERS callers get answered, and the p99 of their seconds."""
    asking.series = "warm"
    await saturate(served.url, served.headers, asking, WORKERS, WARM_UP)
    windows = []
    for window in range(WINDOWS):
        asking.series = f"alone{window}"
        windows.append(await saturate(served.url, served.headers, asking, WORKERS, WINDOW))
    best = max(windows, key=len)
    assert {answer.status for answer in best} <= {200, 201}, Counter(answer.status for answer in best)
    return len(best) / WINDOW, percentile([answer.seconds for window in windows for answer in window], 0.99)


def subjects(served: Served) -> set[str]:
    """Those of the default gallery that have a reference."""
    found: set[str] = set()
    with served.client() as client:
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": 500} | ({"cursor": cursor} if cursor else {})
            page = client.get("/v1/galleries/default/subjects", params=query).raise_for_status().json()
            found |= {subject["id"] for subject in page["items"] if subject["references"]}
            cursor = page["next_cursor"]
    return found


def require(found: Found) -> None:
    """Raises AssertionError where something was lost, refused otherwise than it should be, or kept."""
    statuses = Counter(answer.status for answer in found.answers)
    assert statuses.keys() <= {200, 201, 503}, statuses
    refused = [answer for answer in found.answers if answer.status == 503]
    assert refused, "it was never asked too much"
    assert all(answer.retry_after for answer in refused), "a refusal without Retry-After"
    assert found.lost == 0, f"{found.lost} acknowledged enrolments are not there"
    assert found.sizes[-1] - found.sizes[0] < GROWTH, f"memory grew: {found.sizes} bytes"


def require_prompt(found: Found) -> None:
    """Raises AssertionError where an answer came too late. For a machine that does not much else meanwhile."""
    assert percentile(found.seconds(200, 201), 0.99) <= found.promised, found.line()
    assert percentile(found.seconds(503), 0.9) <= AT_ONCE, found.line()
    assert percentile(found.seconds(503), 0.99) <= QUEUE_SECONDS + AT_ONCE, found.line()


def run(folder: Path) -> str:
    found = measure(folder / "data", prepared(), SECONDS)
    require(found)
    require_prompt(found)
    return found.line()
