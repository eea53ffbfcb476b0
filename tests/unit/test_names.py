"""Names and details that every edge takes, and those that none does."""

from typing import Any

import pytest

from facesvc.core.names import METADATA_BYTES, require_metadata, require_name, require_text
from facesvc.errors import RequestError


@pytest.mark.parametrize("name", ["ada", "Ada Lovelace", "a" * 128, "...", "Ωμέγα", "-x", "50%"])
def test_names(name: str) -> None:
    assert require_name(name) is None


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "a\n", "a\x00b", "a" * 129, "\x9f"])
def test_no_names(name: str) -> None:
    with pytest.raises(RequestError, match="can't be a name"):
        require_name(name)


@pytest.mark.parametrize("text", [None, "Ada Lovelace", "Ἀδά", "a" * 20, "\\u0000"])
def test_text(text: str | None) -> None:
    assert require_text("a note", text, 20) is None


@pytest.mark.parametrize("text", ["", "a" * 21, "one\ntwo", "one\n", "bell\x07", "\x00"])
def test_no_text(text: str) -> None:
    with pytest.raises(RequestError, match="a note takes 1 to 20 characters, none of them a control character"):
        require_text("a note", text, 20)


def test_metadata() -> None:
    assert require_metadata(None) is None
    assert require_metadata({"note": "a" * (METADATA_BYTES - 12)}) is None
    assert require_metadata({"path": "\\u0000"}) is None


@pytest.mark.parametrize(
    "metadata", [{"a": float("nan")}, {"a": float("inf")}, {"a": "\x00"}, {"a": b"bytes"}, {"a": "b" * METADATA_BYTES}]
)
def test_no_metadata(metadata: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="metadata"):
        require_metadata(metadata)
