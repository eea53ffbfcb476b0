"""Drills as tests: fewer files and requests, a shorter time."""

from pathlib import Path

import pytest

from drills.ground import Real
from facesvc.models.packs import DEFAULT_PACK


@pytest.fixture(scope="session")
def real(default_packs: Path, photographs: dict[str, bytes]) -> Real:
    return Real(default_packs, DEFAULT_PACK, photographs)
