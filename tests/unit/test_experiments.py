"""1:N, groups, hardest cases and the split of galleries, on examples worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from facesvc.core import metrics
from facesvc.errors import RequestError
from facesvc.evaluation import identification
from facesvc.evaluation.datasets import Labelled, assign, read_people
from facesvc.evaluation.experiments import Grouping, HardCase, group_rates, hardest_of_all_pairs, read_groups


def at(*degrees: float) -> np.ndarray:
    """Unit vectors in a plane: those x degrees apart are at squared distance 2 - 2 cos x."""
    angles = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def apart(degrees: float) -> float:
    return 2 - 2 * float(np.cos(np.deg2rad(degrees)))


def test_searches_by_hand() -> None:
    """Ada is enrolled at 0 and 10 degrees, Bob at 90, Cy failed to enrol. Dan is a stranger."""
    gallery = np.concatenate([at(90, 0, 10), [[np.nan, np.nan]]]).astype(np.float32)
    probes = np.concatenate([at(12, 50, 200, 80), [[np.nan, np.nan]], at(5)]).astype(np.float32)
    who = ["ada", "bob", "dan", "dan", "bob", "cy"]
    found = identification.search(probes, who, gallery, ["bob", "ada", "ada", "cy"])
    assert found.mated.tolist() == [True, True, False, False, True, True]
    assert found.own == pytest.approx([apart(2), apart(40), np.inf, np.inf, np.inf, np.inf], abs=1e-6)
    assert found.nearest == pytest.approx([apart(2), apart(40), apart(110), apart(10), np.inf, apart(5)], abs=1e-6)
    # 50 degrees is 40 from both Bob and Ada's second reference, up to rounding; a failed search ranks behind all
    assert found.rank[[0, 4, 5]].tolist() == [1, 3, 3]
    assert found.reference[[0, 2, 3]].tolist() == [2, 0, 0]
    assert (found.gallery_subjects, found.gallery_references) == (3, 4)


def test_identification_figures_by_hand() -> None:
    gallery, owners = at(0, 90, 180), ["ada", "bob", "cy"]
    probes = at(1, 3, 60, 175, 270, 268)
    found = identification.search(probes, ["ada", "bob", "bob", "cy", "eve", "eve"], gallery, owners)
    figures = identification.summarise(found, threshold=apart(20), resamples=50)
    assert figures["rank_1"] == 0.75  # Bob's probe at 3 degrees finds Ada
    assert figures["cmc"][:3] == [0.75, 1.0, 1.0]
    told = figures["at_threshold"]
    assert (told["fnir"], told["fpir"]) == (0.5, 0.0)  # that one, and Bob's at 60, 30 degrees off
    assert figures["fnir_at_fpir"] == {"1e-1": 0.25, "1e-2": 0.25}  # any threshold up to 88 degrees keeps Eve out
    assert told["fpir_interval"] == pytest.approx(metrics.wilson(0, 1))  # one stranger says little
    assert figures["searches"] == {"mated": 4, "non_mated": 2}


def test_without_strangers_fpir_is_unknown() -> None:
    found = identification.search(at(1), ["ada"], at(0, 90), ["ada", "bob"])
    figures = identification.summarise(found, 1.1, resamples=5)
    assert figures["at_threshold"]["fpir"] is None
    assert figures["fnir_at_fpir"] is None


def test_a_gallery_of_nobody_searched_for() -> None:
    found = identification.search(at(1), ["eve"], at(0), ["ada"])
    with pytest.raises(RequestError, match="no probe shows a person of the gallery"):
        identification.summarise(found, 1.1)


def test_the_split_depends_on_nobody_else() -> None:
    people = [Labelled(Path(f"p{s}/{i}.jpg"), f"p{s}") for s in range(50) for i in range(3)]
    roles = assign(people)
    enrolled = {people[i].file for i in roles.enrolled}
    assert sorted([*roles.enrolled, *roles.probes]) == list(range(150))
    assert len(enrolled) == len({file.parent for file in enrolled}) == 37  # 13 of 50 left out by this hash
    some = people[60:]
    assert {some[i].file for i in assign(some).enrolled} == {file for file in enrolled if file >= Path("p2")} & {
        labelled.file for labelled in some
    }
    assert len(assign(people, references=2).enrolled) == 74


def test_people_of_a_folder(tmp_path: Path) -> None:
    for name in ("ada/2.png", "ada/1.JPG", "bob/x.jpg", "ada/notes.txt", "ada/.hidden.jpg", ".cache/y.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert read_people(tmp_path) == [
        Labelled(Path("ada/1.JPG"), "ada"),
        Labelled(Path("ada/2.png"), "ada"),
        Labelled(Path("bob/x.jpg"), "bob"),
    ]
    with pytest.raises(RequestError, match="no photograph"):
        read_people(tmp_path / "bob")


CSV = "id,sex,born,name\n1,f,1990,Ada\n2,m,1991,Bob\n3,,1992,Cy\n"


def test_groups_from_a_table(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text(CSV)
    assert read_groups(table, "id", {"gender": "sex"}) == [Grouping("gender", {"1": "f", "2": "m", "3": "not stated"})]
    assert [grouping.name for grouping in read_groups(table, "id")] == ["sex", "born", "name"]
    table.write_text("subject,sex,age\n" + "".join(f"{i},f,{i}\n" for i in range(21)))
    assert [grouping.name for grouping in read_groups(table)] == ["sex"]  # 21 different ages are no groups


@pytest.mark.parametrize(("subject", "columns"), [("who", {"sex": "sex"}), ("id", {"sex": "gender"})])
def test_a_column_that_is_not_there(tmp_path: Path, subject: str, columns: dict[str, str]) -> None:
    (tmp_path / "groups.csv").write_text(CSV)
    with pytest.raises(RequestError, match="has no column"):
        read_groups(tmp_path / "groups.csv", subject, columns)


def test_group_rates_by_hand() -> None:
    """Group f: two people of two photographs, 2 of 4 non-mated below; group m: one person; Di is in no group."""
    vectors = at(0, 10, 20, 60, 100, 130, 100)
    who = np.array(["ada", "ada", "bea", "bea", "cy", "cy", "di"])
    grouping = Grouping("gender", {"ada": "f", "bea": "f", "cy": "m"})
    told = group_rates(vectors, who, grouping, threshold=apart(25), resamples=20)
    rows = {row["group"]: row for row in told["groups"]}
    assert list(rows) == ["f", "m", "not stated"]
    assert (rows["f"]["fmr"], rows["f"]["fnmr"]) == (0.5, 0.5)  # 0-20 and 10-20 match; Bea is 40 from herself
    assert (rows["f"]["mated"], rows["f"]["non_mated"], rows["f"]["subjects"]) == (2, 4, 2)
    assert rows["m"]["fmr"] is None  # one person can't be mistaken for another
    assert rows["m"]["fmr_interval"] == (0.0, 1.0)
    assert [row["small"] for row in rows.values()] == [True, True, True]
    assert told["largest_ratio"] == {"fmr": None, "fnmr": None}


def test_largest_ratio_is_between_groups_that_are_not_small() -> None:
    generator = np.random.default_rng(0)
    who = np.repeat(np.arange(80), 3).astype(str)
    vectors = generator.normal(size=(80, 8)).repeat(3, axis=0) + 0.7 * generator.normal(size=(240, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    grouping = Grouping("half", {str(i): "a" if i < 40 else "b" for i in range(80)})
    told = group_rates(vectors.astype(np.float32), who, grouping, threshold=0.8, resamples=5)
    rates = [row["fmr"] for row in told["groups"]]
    assert [row["small"] for row in told["groups"]] == [False, False]
    assert told["largest_ratio"]["fmr"] == max(rates) / min(rates)
    assert max(rates) > min(rates) > 0


def test_the_hardest_of_all_pairs_equal_a_full_sort() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(600, 4)).astype(np.float32)  # more rows than one block
    vectors[7] = np.nan
    who = np.arange(600) // 3
    distances = np.square(vectors[:, None].astype(float) - vectors[None]).sum(2)
    first, second = np.triu_indices(600, 1)
    values, same = distances[first, second], who[first] == who[second]
    strangers = np.isfinite(values) & ~same
    nearest = sorted(zip(*(column[strangers].tolist() for column in (values, first, second)), strict=True))
    wanted = [(i, j) for _, i, j in nearest[:12]]
    found = hardest_of_all_pairs(vectors, who, 1.1)
    assert [(case.first, case.second) for case in found[:12]] == wanted
    assert found[0] == HardCase(*wanted[0], mated=False, distance=found[0].distance, wrong=True)
    assert [case.distance for case in found[:12]] == pytest.approx([value for value, _, _ in nearest[:12]])
    assert [case.distance for case in found[12:]] == pytest.approx(
        np.sort(values[same & np.isfinite(values)])[::-1][:12]
    )
