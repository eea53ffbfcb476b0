"""A few hundred of the damaged files and requests of which drills send ten thousand."""

from pathlib import Path

import pytest

from drills import fuzz_images, fuzz_requests
from drills.ground import Real
from drills.mutations import mutated

FILES, REQUESTS = 200, 100


def test_damaged_photographs(tmp_path: Path, real: Real) -> None:
    found = fuzz_images.fuzz(tmp_path, real.photographs, real.packs, FILES)
    fuzz_images.require(found)
    assert sum(found.outcomes.values()) == FILES
    assert {"decoded", "corrupt_image"} <= found.outcomes.keys()


@pytest.mark.slow
def test_hostile_requests(tmp_path: Path, real: Real) -> None:
    found = fuzz_requests.fuzz(tmp_path / "data", real, REQUESTS)
    fuzz_requests.require(found)
    assert (found.made.total(), found.raw.total()) == (REQUESTS // 2, REQUESTS // 2)
    assert {"200", "422"} <= found.raw.keys() | found.made.keys()


def test_a_damaged_file_can_be_made_again() -> None:
    files = {"a": bytes(range(256)), "b": b"\x89PNG\r\n\x1a\n" + bytes(100)}
    made = [mutated(number, 1, files) for number in range(50)]
    assert made == [mutated(number, 1, files) for number in range(50)]
    assert len(set(made)) == 50
    assert made != [mutated(number, 2, files) for number in range(50)]
