"""Names that every edge takes, and those that none does."""

import pytest

from facesvc.core.names import require_name
from facesvc.errors import RequestError


@pytest.mark.parametrize("name", ["ada", "Ada Lovelace", "a" * 128, "...", "Ωμέγα", "-x", "50%"])
def test_names(name: str) -> None:
    assert require_name(name) is None


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "a\n", "a\x00b", "a" * 129, "\x9f"])
def test_no_names(name: str) -> None:
    with pytest.raises(RequestError, match="can't be a name"):
        require_name(name)
