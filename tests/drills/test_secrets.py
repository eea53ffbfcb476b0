"""Nothing secret in what a server writes."""

from pathlib import Path

import pytest

from drills import secrets
from drills.ground import Real


@pytest.mark.slow
def test_nothing_secret_is_written(tmp_path: Path, real: Real) -> None:
    written, leaks = secrets.measure(tmp_path / "data", real)
    assert leaks == {name: [] for name in leaks}
    assert written.count('"event": "request"') == 19
    assert len(leaks) == 11


def test_what_is_written_would_be_found() -> None:
    key, photograph = "facesvc_0_" + "k" * 43, bytes(range(256)) * 10
    said = {"log": f"failed with {'k' * 43} and {photograph!r}", "answers": ""}
    assert {name for name, secret in secrets.secrets(key, photograph).items() if secrets.found(secret, said)} == {
        "API key",
        "photograph, escaped",
    }
