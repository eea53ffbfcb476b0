"""Folders of people, what a review leaves of them, and splits that depend on nothing but a name and a seed."""

import random
from pathlib import Path

import pytest

from facesvc.errors import RequestError
from training.data.folders import Photograph, read_folder
from training.data.review import Review, read_review
from training.data.splits import folds, share, split

PEOPLE = [f"p{i:04d}" for i in range(2000)]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Listing needs names only: the files are empty."""
    names = ("b/2.JPG", "b/1.png", "b/notes.txt", "b/.hidden.jpg", "a/x.heic", "c/1.jpg", ".trash/1.jpg", "loose.jpg")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "c" / "folder.jpg").mkdir()
    return tmp_path


def test_photographs_come_sorted_with_their_subjects(people: Path) -> None:
    assert read_folder(people) == [
        Photograph(people / "a" / "x.heic", "a"),
        Photograph(people / "b" / "1.png", "b"),
        Photograph(people / "b" / "2.JPG", "b"),
        Photograph(people / "c" / "1.jpg", "c"),
    ]


def test_excluded_subjects_are_left_out(people: Path) -> None:
    assert [photograph.name for photograph in read_folder(people, exclude=["b", "nobody"])] == ["a/x.heic", "c/1.jpg"]


def test_review_merges_drops_and_excludes(people: Path, tmp_path: Path) -> None:
    review = tmp_path / "review.json"
    review.write_text(Review(merge=(("c", "b"),), drop=("b/1.png",), exclude=("a",)).to_json())
    assert read_folder(people, review=review) == [
        Photograph(people / "b" / "2.JPG", "b"),
        Photograph(people / "c" / "1.jpg", "b"),
    ]


def test_merges_join_in_whatever_order_they_are_written() -> None:
    pairs = (("d", "c"), ("b", "d"), ("a", "b"), ("x", "y"), ("b", "c"))
    expected = {"b": "a", "c": "a", "d": "a", "y": "x"}
    assert Review(merge=pairs).names() == expected
    assert Review(merge=tuple((second, first) for first, second in reversed(pairs))).names() == expected


def test_review_survives_its_file(tmp_path: Path) -> None:
    review = Review(merge=(("é", "b"),), drop=("b/1.png",), exclude=("a",))
    (tmp_path / "review.json").write_text(review.to_json(), encoding="utf-8")
    assert read_review(tmp_path / "review.json") == review


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"merge": [["a"]]}', "merge.0"),
        ('{"drops": []}', "drops"),
        ("{", "Invalid JSON"),
        (None, "can't be read: No such file"),
    ],
)
def test_what_is_no_review_is_refused(tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "review.json").write_text(content)
    with pytest.raises(RequestError, match=complaint):
        read_review(tmp_path / "review.json")


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no photograph"):
        read_folder(tmp_path)
    with pytest.raises(RequestError, match="No such file"):
        read_folder(tmp_path / "nowhere")


def test_share_is_the_head_of_the_digest() -> None:
    """What ``printf 7/ada | sha256sum`` prints begins with these 16 digits."""
    assert share("ada", 7) == pytest.approx(0xA03C7C4E0C1D0250 / 2**64, abs=2**-53)


def test_split_is_the_same_for_each_person_in_any_company() -> None:
    sides = split(PEOPLE, 3, validation=0.2, test=0.1)
    shuffled = random.Random(0).sample(PEOPLE, 500)
    assert split(shuffled, 3, validation=0.2, test=0.1) == {name: sides[name] for name in shuffled}


def test_split_meets_its_shares_and_test_takes_from_training_alone() -> None:
    without = split(PEOPLE, 3, validation=0.2)
    sides = split(PEOPLE, 3, validation=0.2, test=0.1)
    counts = {side: list(sides.values()).count(side) for side in ("train", "validation", "test")}
    # 4 standard deviations of a binomial: sqrt(2000 p (1 - p)) is 20.5, 17.9 and 13.4
    assert counts["train"] == pytest.approx(1400, abs=82)
    assert counts["validation"] == pytest.approx(400, abs=72)
    assert counts["test"] == pytest.approx(200, abs=54)
    assert {n for n in PEOPLE if sides[n] == "validation"} == {n for n in PEOPLE if without[n] == "validation"}


def test_seeds_split_differently() -> None:
    one, other = split(PEOPLE, 1), split(PEOPLE, 2)
    assert sum(one[name] != other[name] for name in PEOPLE) == pytest.approx(2000 * 2 * 0.2 * 0.8, abs=90)


def test_folds_of_the_training_side_are_all_filled() -> None:
    """The split's own share would leave the lowest fold of its training side empty."""
    training = [name for name, side in split(PEOPLE, 5).items() if side == "train"]
    parts = folds(training, 5, 5)
    expected = len(training) / 5
    assert [list(parts.values()).count(k) for k in range(5)] == pytest.approx([expected] * 5, abs=72)
    assert folds(training[::-7], 5, 5) == {name: parts[name] for name in training[::-7]}


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(RequestError, match="leave nobody to train on"):
        split(PEOPLE, 0, validation=0.6, test=0.4)
    with pytest.raises(RequestError, match="held out in turn"):
        folds(PEOPLE, 1, 0)
