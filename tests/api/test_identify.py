"""POST /v1/identify and /v1/detect: who is it, and the explicit unknown."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.conftest import Part, problem

Parts = Callable[[str, str], Part]
Encoded = Callable[[str], dict[str, str]]


@pytest.fixture
def known(gallery: str, enrol: Callable[..., dict[str, Any]]) -> str:
    """A gallery that knows two people."""
    enrol(gallery, "obama", "obama")
    enrol(gallery, "biden", "biden")
    return gallery


def identify(client: httpx.Client, part: Parts, name: str, gallery: str, **options: Any) -> httpx.Response:
    return client.post("/v1/identify", files=[part("image", name)], data={"gallery": gallery, **options})


def test_a_known_person(client: httpx.Client, part: Parts, known: str) -> None:
    answer = identify(client, part, "obama2", known).json()
    (face,) = answer["faces"]
    assert face["decision"] == "match"
    assert [(c["subject"], c["match"]) for c in face["candidates"]] == [("obama", True), ("biden", False)]
    assert [c["distance"] for c in face["candidates"]] == pytest.approx([0.424, 1.492], abs=0.01)
    assert (answer["gallery"], answer["faces_found"], answer["threshold"]) == (known, 1, 1.1)
    assert answer["references"] == 2
    assert answer["fpir_at_threshold"] == pytest.approx(1 - (1 - answer["fmr_at_threshold"]) ** 2)


def test_an_unknown_person(client: httpx.Client, part: Parts, known: str) -> None:
    (face,) = identify(client, part, "astronaut", known).json()["faces"]
    assert face["decision"] == "unknown"
    assert [c["match"] for c in face["candidates"]] == [False, False]
    assert [c["distance"] for c in face["candidates"]] == pytest.approx([1.661, 1.834], abs=0.01)


def test_an_empty_gallery_knows_nobody(client: httpx.Client, part: Parts, gallery: str) -> None:
    (face,) = identify(client, part, "obama", gallery).json()["faces"]
    assert (face["decision"], face["candidates"]) == ("unknown", [])


def test_everybody_in_a_group(client: httpx.Client, part: Parts, known: str) -> None:
    answer = identify(client, part, "group", known).json()
    left_to_right = sorted(answer["faces"], key=lambda face: face["box"][0])
    assert [face["decision"] for face in left_to_right] == ["match", "match", "unknown"]
    assert [face["candidates"][0]["subject"] for face in left_to_right[:2]] == ["obama", "biden"]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (face["box"] for face in answer["faces"])]
    assert areas == sorted(areas, reverse=True)


def test_the_largest_face_only(client: httpx.Client, part: Parts, known: str) -> None:
    answer = identify(client, part, "group", known, face="largest").json()
    assert [face["candidates"][0]["subject"] for face in answer["faces"]] == ["biden"]
    assert answer["faces_found"] == 3


def test_one_face_expected_in_a_group(client: httpx.Client, part: Parts, known: str) -> None:
    answer = identify(client, part, "group", known, face="only")
    assert answer.status_code == 422
    assert problem(answer)["code"] == "several_faces"


def test_top_k(client: httpx.Client, part: Parts, known: str) -> None:
    (face,) = identify(client, part, "obama2", known, top_k=1).json()["faces"]
    assert [c["subject"] for c in face["candidates"]] == ["obama"]


def test_a_stricter_threshold_makes_unknown(client: httpx.Client, part: Parts, known: str) -> None:
    (face,) = identify(client, part, "obama2", known, threshold=0.01).json()["faces"]
    assert (face["decision"], face["candidates"][0]["match"]) == ("unknown", False)


def test_json_and_form_agree_to_the_last_digit(client: httpx.Client, part: Parts, encoded: Encoded, known: str) -> None:
    form = identify(client, part, "group", known, top_k=2).json()
    json = client.post("/v1/identify", json={"image": encoded("group"), "gallery": known, "top_k": 2}).json()
    assert json["faces"] == form["faces"]


def test_a_display_name_comes_with_the_candidate(client: httpx.Client, part: Parts, known: str) -> None:
    client.patch(f"/v1/galleries/{known}/subjects/biden", json={"display_name": "Joe Biden"})
    (face,) = identify(client, part, "biden", known, top_k=1).json()["faces"]
    assert face["candidates"][0]["display_name"] == "Joe Biden"


def test_no_gallery_of_that_name(client: httpx.Client, part: Parts) -> None:
    answer = identify(client, part, "obama", "nowhere")
    assert answer.status_code == 404
    assert problem(answer)["code"] == "gallery_not_found"


def test_the_default_gallery(client: httpx.Client, part: Parts) -> None:
    assert client.post("/v1/identify", files=[part("image", "biden")]).json()["gallery"] == "default"


def test_detect_finds_every_face(client: httpx.Client, part: Parts, encoded: Encoded) -> None:
    form = client.post("/v1/detect", files=[part("image", "group")]).json()
    assert (form["faces_found"], len(form["faces"]), form["height"]) == (3, 3, 480)
    assert client.post("/v1/detect", json={"image": encoded("group")}).json()["faces"] == form["faces"]


def test_detect_says_that_there_is_no_face(client: httpx.Client, part: Parts) -> None:
    answer = client.post("/v1/detect", files=[part("image", "no_face")]).json()
    assert (answer["faces"], answer["faces_found"], answer["width"], answer["height"]) == ([], 0, 800, 600)
