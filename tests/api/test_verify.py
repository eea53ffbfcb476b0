"""POST /v1/verify: values on real photographs, both notations, subjects in place of a reference."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.conftest import Part, problem

Parts = Callable[[str, str], Part]
Encoded = Callable[[str], dict[str, str]]


def verify(client: httpx.Client, part: Parts, probe: str, reference: str, **options: Any) -> httpx.Response:
    return client.post("/v1/verify", files=[part("probe", probe), part("reference", reference)], data=options)


def test_one_person_matches(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "obama", "obama2").json()
    assert answer["match"] is True
    assert answer["decision"] == "match"
    assert answer["distance"] == pytest.approx(0.424, abs=0.01)
    assert answer["similarity"] == pytest.approx(1 - answer["distance"] / 2)
    assert answer["threshold"] == 1.1
    assert answer["template_version"].startswith("sha256:")


def test_two_people_do_not_match(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "obama", "biden").json()
    assert (answer["match"], answer["decision"]) == (False, "no_match")
    assert answer["distance"] == pytest.approx(1.865, abs=0.01)


def test_equal_photographs_have_distance_zero(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "biden", "biden").json()
    assert answer["distance"] == pytest.approx(0, abs=1e-9)
    assert answer["probe"] == answer["reference"]


def test_the_answer_describes_the_faces_compared(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "obama", "biden").json()
    left, top, right, bottom = answer["probe"]["box"]
    assert 340 < left < 400 < 580 < right < 640  # where Obama's face is in that photograph, px
    assert 60 < top < 120 < 380 < bottom < 440
    assert all(left < x < right and top < y < bottom for x, y in answer["probe"]["landmarks"])
    assert answer["probe"]["faces_found"] == 1
    assert answer["probe"]["quality"]["acceptable"] is True
    assert answer["timings_ms"]["total"] == pytest.approx(
        sum(ms for stage, ms in answer["timings_ms"].items() if stage != "total"), abs=0.01
    )


def test_json_and_form_agree_to_the_last_digit(client: httpx.Client, part: Parts, encoded: Encoded) -> None:
    form = verify(client, part, "obama", "obama3").json()
    body = {"probe": encoded("obama"), "reference": encoded("obama3")}
    assert comparable(client.post("/v1/verify", json=body).json()) == comparable(form)


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "timings_ms"}


def test_a_threshold_of_the_callers(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "obama", "obama2", threshold=0.05).json()
    assert (answer["match"], answer["threshold"]) == (False, 0.05)


@pytest.mark.parametrize("threshold", [0, -1, 4.5])
def test_a_threshold_out_of_range(client: httpx.Client, part: Parts, threshold: float) -> None:
    answer = verify(client, part, "obama", "obama2", threshold=threshold)
    assert answer.status_code == 422
    assert problem(answer)["code"] == "invalid_threshold"


def test_threshold_and_target_fmr_exclude_each_other(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "obama", "obama2", threshold=1, target_fmr=0.001)
    assert problem(answer)["code"] == "invalid_threshold"


def test_a_target_fmr_chooses_the_threshold_or_says_that_it_cannot(client: httpx.Client, part: Parts) -> None:
    calibration = client.get("/v1/model").json()["calibration"]
    answer = verify(client, part, "obama", "obama2", target_fmr=0.01)
    assert answer.json()["threshold"] > 1.1
    assert answer.json()["fmr_at_threshold"] <= 0.01
    impossible = verify(client, part, "obama", "obama2", target_fmr=calibration["smallest_fmr"] / 2)
    assert problem(impossible)["code"] == "target_fmr_unsupported"


def test_only_one_face_wanted_where_there_are_three(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "obama", "group", face="only")
    assert answer.status_code == 422
    assert problem(answer) == {
        "type": "/errors/several_faces",
        "title": "Several faces found",
        "status": 422,
        "code": "several_faces",
        "detail": "3 faces found where one was expected",
        "source": "reference",
    }


def test_the_largest_face_of_a_group(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "group", "biden", face="largest").json()
    assert (answer["match"], answer["probe"]["faces_found"]) == (True, 3)


def test_no_face(client: httpx.Client, part: Parts) -> None:
    answer = verify(client, part, "no_face", "obama")
    assert answer.status_code == 422
    assert problem(answer) == {
        "type": "/errors/no_face",
        "title": "No face found",
        "status": 422,
        "code": "no_face",
        "detail": "no face was found in the photograph",
        "source": "probe",
    }


def test_a_subject_in_place_of_the_reference(
    client: httpx.Client, part: Parts, encoded: Encoded, gallery: str, enrol: Callable[..., dict[str, Any]]
) -> None:
    enrolled = enrol(gallery, "obama", "obama", "obama2")["results"]
    asked = {"subject": "obama", "gallery": gallery}
    form = client.post("/v1/verify", files=[part("probe", "obama3")], data=asked).json()
    assert form["match"] is True
    assert form["reference"]["subject"] == "obama"
    assert form["reference"]["distance"] == form["distance"]
    pairs = [verify(client, part, "obama3", other).json()["distance"] for other in ("obama", "obama2")]
    assert form["distance"] == pytest.approx(min(pairs), abs=1e-5)
    assert form["reference"]["reference"] == enrolled[pairs.index(min(pairs))]["reference"]
    json = client.post("/v1/verify", json={"probe": encoded("obama3"), "reference": asked}).json()
    assert comparable(json) == comparable(form)
    other = client.post("/v1/verify", files=[part("probe", "biden")], data=asked).json()
    assert (other["match"], other["decision"]) == (False, "no_match")


def test_an_unknown_subject(client: httpx.Client, part: Parts, gallery: str) -> None:
    data = {"subject": "nobody", "gallery": gallery}
    answer = client.post("/v1/verify", files=[part("probe", "obama")], data=data)
    assert answer.status_code == 404
    assert problem(answer)["code"] == "subject_not_found"


def test_parallel_answers_equal_sequential_ones(client: httpx.Client, part: Parts) -> None:
    pairs = [("obama", "obama2"), ("obama", "biden"), ("obama3", "obama2"), ("biden", "astronaut")]
    alone = [comparable(verify(client, part, *pair).json()) for pair in pairs]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda pair: comparable(verify(client, part, *pair).json()), pairs * 4))
    for answer, expected in zip(together, alone * 4, strict=True):
        # a micro-batch may sum in another order than a single chip: the last bits of float32
        assert answer["distance"] == pytest.approx(expected["distance"], abs=1e-5)
        assert (answer["decision"], answer["probe"]) == (expected["decision"], expected["probe"])
