"""Parts of the command line that need no photograph: paths, order, exports, messages."""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from facesvc.cli.console import printable
from facesvc.cli.folders import expand, read_photograph, shown
from facesvc.cli.rows import Tally, failed_row, inert, photograph_codes, row, write_csv, write_jsonl, write_parquet
from facesvc.errors import FileUnreadable, ImageTooLarge, NoFace, RequestError
from facesvc.threads import ordered_map

# --- paths --------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/2.JPG", "b/10.heic", "a.png", "z.webp", ".git/x.jpg", "notes.txt", "b/c/d.jpeg", "[1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    return tmp_path


def test_a_folder_stands_for_its_photographs_sorted(tree: Path) -> None:
    found = [os.path.relpath(path, tree) for path in expand([str(tree)])]
    assert found == ["[1].jpg", "a.png", "broken.jpg", "z.webp", "b/10.heic", "b/2.JPG", "b/c/d.jpeg"]


def test_arguments_keep_their_order(tree: Path) -> None:
    """A file named by itself is taken whatever its name; so is one that looks like a pattern, or isn't there."""
    named = [str(tree / name) for name in ("z.webp", "notes.txt", "[1].jpg", "none.jpg", "a.png")]
    assert list(expand(named)) == named
    assert [os.path.relpath(path, tree) for path in expand([str(tree / "*b*")])] == [
        "b/10.heic", "b/2.JPG", "b/c/d.jpeg", "broken.jpg", "z.webp",
    ]  # fmt: skip
    with pytest.raises(RequestError, match="nothing matches"):
        list(expand([str(tree / "*.tiff")]))


def test_reading_photographs(tree: Path) -> None:
    (tree / "a.png").write_bytes(b"12345")
    assert read_photograph(str(tree / "a.png"), 5) == b"12345"
    with pytest.raises(ImageTooLarge, match="more than 4 bytes"):
        read_photograph(str(tree / "a.png"), 4)
    for name, reason in (("broken.jpg", "No such file"), ("b", "Is a directory"), ("a\0b", "null byte")):
        with pytest.raises(FileUnreadable, match=reason):
            read_photograph(f"{tree}/{name}", 5)


def test_paths_are_shown_as_text() -> None:
    assert shown(os.fsdecode(b"a\xff\xc3\xa4.jpg")) == "a\\xffä.jpg"
    assert printable("a\x1b[2J\u202eb\n\udcff") == "a\\x1b[2J\\u202eb\\n\\udcff"


# --- order ----------------------------------------------------------------------------------------------


def test_order_is_kept_when_later_items_are_done_first() -> None:
    second_is_done = Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)
        if item == 1:
            second_is_done.set()
        return item * item

    assert list(ordered_map(work, range(5), workers=2)) == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]


def test_items_are_drawn_as_they_are_needed() -> None:
    drawn: list[int] = []

    def source() -> Any:
        for i in range(1_000):
            drawn.append(i)
            yield i

    results = ordered_map(str, source(), workers=2)
    assert [next(results) for _ in range(3)] == [(0, "0"), (1, "1"), (2, "2")]
    assert len(drawn) <= 3 + 2 * 4
    results.close()


def test_workers_work_at_once_and_an_error_comes_at_its_turn() -> None:
    together = Barrier(3)

    def work(item: int) -> int:
        together.wait(10)
        if item == 2:
            raise NoFace("the third")
        return item

    results = ordered_map(work, range(3), workers=3)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(NoFace, match="the third"):
        next(results)


# --- rows and exports -----------------------------------------------------------------------------------

FACE = row(
    {
        "path": '=a,"b".jpg',
        "face": 0,
        "faces_found": 1,
        "decision": "match",
        "subject": "@ada",
        "distance": 0.1 + 0.2,
        "reference": "ref_1",
        "candidates": [
            {"subject": "@ada", "display_name": "Ada\nL.", "distance": 0.1 + 0.2, "reference": "ref_1", "match": True}
        ],
        "box": [-1.5, 2.0, 3.25, 4.0],
        "detector_score": 0.9,
        "quality_reasons": ["face_blurred", "face_turned"],
        "threshold": 1.1,
        "fmr_at_threshold": 7e-4,
        "template_version": "sha256:00",
        "calibration": "cal_1",
    }
)
FAILED = failed_row("none.jpg", FileUnreadable("No such file or directory"))


def test_csv_is_inert_and_exact() -> None:
    stream = io.BytesIO()
    write_csv([FACE, FAILED], stream)
    face, failed = csv.DictReader(io.StringIO(stream.getvalue().decode(), newline=""))
    assert (face["path"], face["subject"], face["x1"]) == ('\'=a,"b".jpg', "'@ada", "-1.5")
    assert (face["distance"], face["fmr_at_threshold"]) == ("0.30000000000000004", "0.0007")
    assert face["quality_reasons"] == "face_blurred;face_turned"
    assert {key: value for key, value in failed.items() if value} == {
        "path": "none.jpg",
        "code": "file_unreadable",
        "detail": "No such file or directory",
    }


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_no_formulas(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("value", ["ada", "", "a=b", -1.5, None])
def test_everything_else_stays(value: object) -> None:
    assert inert(value) == value


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_the_same_rows_are_the_same_bytes(write: Callable[[Any, Any], None]) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    write([FACE, FAILED], first)
    write(iter([FACE, FAILED]), second)
    assert first.getvalue() == second.getvalue()


def test_parquet_has_a_schema_even_without_rows(tmp_path: Path) -> None:
    from pyarrow import parquet

    with (tmp_path / "rows.parquet").open("wb") as stream:
        write_parquet([], stream)
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert (table.num_rows, table.column_names) == (0, list(FACE))


def test_tally() -> None:
    tally = Tally()
    tally.add([FACE, FACE | {"decision": "unknown"}])
    tally.add([FAILED])
    assert str(tally) == ("2 files, 2 faces: 1 match, 1 unknown, 0 inconclusive; not processed: 1 file_unreadable")


def test_only_a_photographs_own_fault_becomes_a_row() -> None:
    codes = photograph_codes()
    assert {
        "no_face",
        "several_faces",
        "corrupt_image",
        "image_too_large",
        "file_unreadable",
        "worker_lost",
        "internal_error",
    } < codes
    stopping = {"gallery_not_found", "store_unavailable", "invalid_threshold", "overloaded", "remote_error"}
    assert not codes & {*stopping, "cluster_unavailable"}
