"""A run's record: rows as they were written, cut back where a run goes on, and its curves as a picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.run.journal import Journal, Row, read

ROWS = [
    Row(0, 0, tar=0.05),
    Row(1, 0, 0.1, None, 0.5, 48, 1.9, 0.0005, 80.5),
    Row(2, 0, 0.09999999999999998, None, 0.25, 24, 1.8, 0.001, 81.25, 0.25),
    Row(3, 1, 0.08, 0.5, 0.2, 20, 1.8, 0.001, 82.0),
]


def write(folder: Path, rows: list[Row], done: int | None = None) -> None:
    with Journal(folder, done) as journal:
        for row in rows:
            journal.write(row)


def test_rows_come_back_to_the_last_digit(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    assert read(tmp_path / "metrics.csv") == ROWS
    assert (tmp_path / "metrics.csv").read_text().splitlines()[
        3
    ] == "2,0,0.09999999999999998,,0.25,24,1.8,0.001,81.25,0.25"


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    again = Row(3, 1, 0.07, 0.5, 0.2, 20, 1.8, 0.001, 90.0)
    write(tmp_path, [again], done=2)
    assert read(tmp_path / "metrics.csv") == [*ROWS[:3], again]


def test_a_new_run_starts_an_empty_record(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    write(tmp_path, ROWS[:1])
    assert read(tmp_path / "metrics.csv") == ROWS[:1]


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    file = tmp_path / "metrics.csv"
    file.write_bytes(file.read_bytes()[:-20])
    assert read(file) == ROWS[:3]


def test_tensorboard_reads_the_same_values(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("tar")] == [(0, pytest.approx(0.05)), (2, 0.25)]
    assert [event.value for event in board.Scalars("triplets")] == [48, 24, 20]
    assert set(board.Tags()["scalars"]) == {
        "loss", "distillation", "active", "triplets", "spread", "rate", "images_per_second", "tar",
    }  # fmt: skip


def test_the_curves_are_drawn_where_there_are_some(tmp_path: Path) -> None:
    write(tmp_path, ROWS[:2])
    assert not (tmp_path / "curves.png").exists()
    write(tmp_path, ROWS)
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    assert picture.shape == (960, 960, 3)
    red, blue, green = (
        np.array(bgr) for bgr in ((40, 39, 214), (180, 119, 31), (44, 160, 44))
    )  # matplotlib's tab colours
    found = [np.argwhere((picture == colour).all(axis=2))[:, 0].mean() for colour in (red, blue, green)]
    assert found == sorted(found), "loss above active triplets above TAR"
