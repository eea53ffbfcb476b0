"""A few hundred of the damaged files and requests of which drills send ten thousand."""

from pathlib import Path

from tests.drills import fuzz_images
from tests.drills.ground import Real
from tests.drills.mutations import mutated

FILES = 200


def test_damaged_photographs(tmp_path: Path, real: Real) -> None:
    found = fuzz_images.fuzz(tmp_path, real.photographs, real.packs, FILES)
    fuzz_images.require(found)
    assert sum(found.outcomes.values()) == FILES
    assert {"decoded", "corrupt_image"} <= found.outcomes.keys()


def test_a_damaged_file_can_be_made_again() -> None:
    files = {"a": bytes(range(256)), "b": b"\x89PNG\r\n\x1a\n" + bytes(100)}
    made = [mutated(number, 1, files) for number in range(50)]
    assert made == [mutated(number, 1, files) for number in range(50)]
    assert len(set(made)) == 50
    assert made != [mutated(number, 2, files) for number in range(50)]
