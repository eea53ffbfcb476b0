"""Anybody may ask whether the service is ready; nobody holds it up by that."""

import asyncio
import threading

import pytest

from facesvc.errors import StoreUnavailable
from facesvc.web.observe import Readiness


class Look:
    """Counts itself; waits where it is told to, and fails where it is."""

    def __init__(self, failing: bool = False) -> None:
        self.count, self.failing, self.gate = 0, failing, threading.Event()
        self.gate.set()

    def __call__(self) -> None:
        self.count += 1
        self.gate.wait()
        if self.failing:
            raise StoreUnavailable("no database")


async def told(readiness: Readiness, look: Look) -> str:
    try:
        await readiness.require(look)
    except StoreUnavailable as error:
        return error.detail
    return "ready"


def test_many_ask_and_one_looks() -> None:
    look = Look()

    async def ask() -> list[str]:
        readiness = Readiness(kept=60)
        at_once = await asyncio.gather(*(told(readiness, look) for _ in range(500)))
        return [*at_once, await told(readiness, look)]

    assert asyncio.run(ask()) == ["ready"] * 501
    assert look.count == 1


@pytest.mark.parametrize("kept", [0.0, 60.0])
def test_a_result_is_kept_for_its_time_alone(kept: float) -> None:
    look = Look(failing=True)

    async def ask() -> list[str]:
        readiness = Readiness(kept=kept)
        first = await told(readiness, look)
        look.failing = False
        return [first, await told(readiness, look)]

    assert asyncio.run(ask()) == ["no database", "no database" if kept else "ready"]
    assert look.count == (1 if kept else 2)


def test_a_database_that_hangs_is_looked_at_once() -> None:
    """However long it takes: nobody waits for more than the patience, and no second thread is taken."""
    look = Look()
    look.gate.clear()

    async def ask() -> list[str]:
        readiness = Readiness(kept=0, patience=0.01)
        waited = await asyncio.gather(*(told(readiness, look) for _ in range(100)))
        later = await told(readiness, look)
        look.gate.set()
        return [*waited, later]

    assert set(asyncio.run(ask())) == {"the database has not answered for 0.01 s"}
    assert look.count == 1
