"""The drills of what a thief finds, of templates that were turned, and of what is left of an erased person."""

from pathlib import Path

import pytest

from drills import erasure, rotated_templates, stolen_database
from drills.ground import Real

pytestmark = pytest.mark.slow


def test_a_stolen_database_tells_nothing(tmp_path: Path, real: Real) -> None:
    found = stolen_database.drill(tmp_path, real)
    stolen_database.require(found)
    assert found.looked_for > 30
    assert found.rows["subjects"] == len(stolen_database.CLIENTS)


def test_turned_templates_decide_the_same_and_link_to_nobody(tmp_path: Path, real: Real) -> None:
    found = rotated_templates.drill(tmp_path, real, people=100)
    rotated_templates.require(found)


def test_nothing_is_left_of_an_erased_person(tmp_path: Path, real: Real) -> None:
    found = erasure.drill(tmp_path, real)
    erasure.require(found)
    assert found.statement["photographs"] == len(erasure.PHOTOGRAPHS)
