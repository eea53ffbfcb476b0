"""facesvc as a Python library, as docs/python.md shows it."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import facesvc
from facesvc.errors import FileUnreadable, RequestError

DOCS = Path(__file__).parents[2] / "docs" / "python.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)


@pytest.mark.slow
def test_the_examples_print_what_the_page_says(samples: Path, default_packs: Path, tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(samples)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "packs").symlink_to(default_packs)
    (tmp_path / "facesvc.toml").write_text('data = "data"\n')
    program = "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(blocks("text"))


def test_the_public_names_are_there_and_no_others() -> None:
    assert facesvc.__all__ == [
        "DecisionRule", "Enrolment", "EnrolmentRequest", "FaceChoice", "FaceService", "FaceServiceError",
        "Identification", "Photograph", "Verification", "__version__", "errors", "open", "read_photograph", "verify",
    ]  # fmt: skip
    for name in facesvc.__all__:
        assert getattr(facesvc, name) is not None
        assert name in dir(facesvc)
        assert name == "__version__" or f"`{name}`" in DOCS.read_text() or f"`facesvc.{name}`" in DOCS.read_text()
    with pytest.raises(AttributeError, match="no attribute 'guess'"):
        _ = facesvc.guess  # type: ignore[attr-defined]


def test_a_photograph_is_a_path_bytes_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "photograph.jpg"
    path.write_bytes(b"content")
    for photograph in (path, str(path), b"content", io.BytesIO(b"content")):
        assert facesvc.read_photograph(photograph) == b"content"
    with pytest.raises(FileUnreadable, match="No such file"):
        facesvc.read_photograph(tmp_path / "none.jpg")


def test_a_setting_that_is_not_valid_is_refused() -> None:
    with pytest.raises(RequestError, match="setting workers: "), facesvc.open(workers=0):
        pass
