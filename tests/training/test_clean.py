"""Label noise put into synthetic people is found, and nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.clean import Findings, Limits, Mixture, Stranger, find
from training.data.review import Review


def vectors_of(centre: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float32]:
    """(count 128) unit vectors; two of one centre are about 2 - 2 / 1.4 = 0.57 apart, of two centres about 2."""
    noise = np.random.default_rng(seed).normal(size=(count, 128)) * np.sqrt(0.4 / 128)
    vectors = centre + noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


CENTRES = np.eye(128)
"""Of as many people: sqrt 2 apart from each other."""


def look(people: dict[str, NDArray[np.float32]]) -> Findings:
    vectors = np.concatenate(list(people.values()))
    subjects = np.repeat(list(people), [len(own) for own in people.values()])
    files = [f"{name}/{i}.jpg" for name, own in people.items() for i in range(len(own))]
    return find(vectors, subjects, files)


@pytest.fixture
def people() -> dict[str, NDArray[np.float32]]:
    return {f"p{i}": vectors_of(CENTRES[i], 6 + i, i) for i in range(5)}


def test_clean_people_give_no_finding(people: dict[str, NDArray[np.float32]]) -> None:
    assert look(people) == Findings((), (), ())
    assert look(people).review() == Review()


def test_two_folders_of_one_person_are_found(people: dict[str, NDArray[np.float32]]) -> None:
    people["q"] = vectors_of(CENTRES[3], 7, 99)
    findings = look(people)
    (pair,) = findings.shared
    assert (pair.first, pair.second, pair.verdict, pair.below, pair.near, pair.copies) == ("p3", "q", "same", 1, 1, 0)
    assert pair.median == pytest.approx(2 - 2 / 1.4, abs=0.05)
    assert findings.review() == Review(merge=(("p3", "q"),))


def test_photographs_that_stand_in_two_folders_are_found(people: dict[str, NDArray[np.float32]]) -> None:
    """Though the folders mostly show two people; one copy alone is a stranger in its folder."""
    people["p4"] = np.concatenate([people["p4"], people["p0"][:1]])
    (pair,) = look(people).shared
    assert (pair.verdict, pair.copies) == ("strays", 1)
    assert look(people).review() == Review(drop=("p4/10.jpg",))
    people["p4"] = np.concatenate([people["p4"], people["p0"][1:2]])
    (pair,) = look(people).shared
    assert (pair.first, pair.second, pair.copies) == ("p0", "p4", 2)
    assert pair.below == pytest.approx(2 / 12)  # two of the twelve are near all of p0
    assert pair.verdict == "mixed"


def test_folders_that_mix_two_people_are_excluded_and_not_merged(people: dict[str, NDArray[np.float32]]) -> None:
    people["p4"] = np.concatenate([people["p4"], vectors_of(CENTRES[0], 4, 98)])
    findings = look(people)
    (pair,) = findings.shared
    assert (pair.first, pair.second, pair.verdict, pair.copies) == ("p0", "p4", "mixed", 0)
    assert pair.near == pytest.approx(4 / 14)
    assert findings.review() == Review(exclude=("p0", "p4"))


def test_a_stranger_is_found_with_whom_it_resembles(people: dict[str, NDArray[np.float32]]) -> None:
    people["p2"][4] = vectors_of(CENTRES[1], 1, 77)[0]
    people["p0"][2] = vectors_of(CENTRES[50], 1, 78)[0]
    findings = look(people)
    by_file = {stranger.file: stranger for stranger in findings.strangers}
    assert by_file.keys() == {"p2/4.jpg", "p0/2.jpg"}
    known = by_file["p2/4.jpg"]
    assert (known.subject, known.nearest) == ("p2", "p1")
    assert known.median == pytest.approx(2, abs=0.2)
    assert known.nearest_median == pytest.approx(0.57, abs=0.1)
    assert by_file["p0/2.jpg"].nearest_median > 1.7
    assert sorted(findings.review().drop) == ["p0/2.jpg", "p2/4.jpg"]


def test_a_folder_of_many_people_is_found_once_and_not_photograph_by_photograph(
    people: dict[str, NDArray[np.float32]],
) -> None:
    people["mix"] = np.concatenate([vectors_of(CENTRES[60 + i], 1, 60 + i) for i in range(6)])
    findings = look(people)
    assert findings == Findings((), (), (Mixture("mix", 6, 0.0),))
    assert findings.review() == Review(exclude=("mix",))


def test_limits_are_arguments(people: dict[str, NDArray[np.float32]]) -> None:
    people["q"] = vectors_of(CENTRES[3], 7, 99)
    vectors = np.concatenate(list(people.values()))
    subjects = np.repeat(list(people), [len(own) for own in people.values()])
    files = [str(i) for i in range(len(subjects))]
    assert find(vectors, subjects, files, Limits(same=0.3, near=0.3)).shared == ()
    strict = find(vectors, subjects, files, Limits(alien=0.1)).strangers
    assert len(strict) == len(vectors)
    assert all(isinstance(stranger, Stranger) and stranger.median > 0.1 for stranger in strict)


def test_two_photographs_alone_prove_nothing() -> None:
    """Which of the two would be the wrong one?"""
    pair = np.concatenate([vectors_of(CENTRES[0], 1, 0), vectors_of(CENTRES[1], 1, 1)])
    assert look({"a": pair, "b": vectors_of(CENTRES[2], 1, 2)}) == Findings((), (), ())
