"""Counts of requests: how many pass, when the next one may come, and who counts as whom."""

from dataclasses import dataclass

import pytest

from facesvc.errors import RateLimited
from facesvc.web.rates import Known, Rates, origin


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def refused(rates: Rates, per_minute: int, who: str = "a") -> int | None:
    """Seconds to wait, or None where the request passed."""
    try:
        rates.hit(who, per_minute)
    except RateLimited as refusal:
        return refusal.retry_after
    return None


def test_so_many_a_minute_pass() -> None:
    rates = Rates(Clock(12.0))
    assert [refused(rates, 3) for _ in range(3)] == [None] * 3
    assert refused(rates, 3) is not None
    assert refused(rates, 3, "b") is None  # another's count is its own
    with pytest.raises(RateLimited, match="more than 3 requests a minute"):
        rates.hit("a", 3)


@pytest.mark.parametrize("asked_at", [0.0, 15.0, 59.0])
@pytest.mark.parametrize("per_minute", [1, 2, 10])
def test_it_passes_again_after_the_time_that_was_told(asked_at: float, per_minute: int) -> None:
    clock = Clock(asked_at)
    rates = Rates(clock)
    assert [refused(rates, per_minute) for _ in range(per_minute)] == [None] * per_minute
    wait = refused(rates, per_minute)
    assert wait is not None
    clock.seconds += wait - 1.001
    assert wait == 1 or refused(rates, per_minute) is not None
    clock.seconds += 1.002
    assert refused(rates, per_minute) is None


def test_no_minute_has_twice_as_many_across_a_border() -> None:
    clock = Clock(59.0)
    rates = Rates(clock)
    assert [refused(rates, 10) for _ in range(10)] == [None] * 10
    clock.seconds = 61.0
    assert refused(rates, 10) is not None
    clock.seconds = 90.0  # half of the minute before has left the window
    assert [refused(rates, 10) is None for _ in range(6)] == [True] * 5 + [False]


def test_what_is_given_back_may_be_asked_again() -> None:
    rates = Rates(Clock())
    for _ in range(50):
        assert refused(rates, 2) is None
        rates.give_back("a")
    assert [refused(rates, 2) is None for _ in range(3)] == [True, True, False]


def test_a_minute_later_nothing_is_held_against_anybody() -> None:
    clock = Clock(30.0)
    rates = Rates(clock)
    assert [refused(rates, 2) is None for _ in range(3)] == [True, True, False]
    clock.seconds += 120
    assert [refused(rates, 2) is None for _ in range(3)] == [True, True, False]


def test_memory_is_bounded() -> None:
    rates = Rates(Clock(), most=100)
    for number in range(1000):
        rates.hit(str(number), 1)
    assert len(rates._counts) == 100
    assert refused(rates, 1, "999") is not None
    assert refused(rates, 1, "0") is None


def test_known_keys_are_few_and_no_texts() -> None:
    known = Known(most=2)
    keys = [known.fingerprint(f"Bearer {number}") for number in range(3)]
    for key in keys:
        known.add(key)
    assert [key in known for key in keys] == [False, True, True]
    known.discard(keys[2])
    assert keys[2] not in known
    assert known.fingerprint("Bearer 1") == keys[1] != Known().fingerprint("Bearer 1")


@pytest.mark.parametrize(
    ("client", "who"),
    [
        (("192.0.2.7", 4000), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 4000), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 4000), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.7", 4000), "192.0.2.7"),
        (None, ""),
        (("unix:", 0), "unix:"),
    ],
)
def test_who_an_address_is(client: tuple[str, int] | None, who: str) -> None:
    assert origin({"type": "http", "client": client}) == who
