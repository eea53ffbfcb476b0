"""References: enrol, list, read, delete; what is deleted is gone."""

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Part, problem, references
from tests.support.live import Live

Parts = Callable[[str, str], Part]
Encoded = Callable[[str], dict[str, str]]
Enrol = Callable[..., dict[str, Any]]
TABLES = ("subjects", "face_references", "photographs")


def test_each_photograph_has_its_own_outcome(client: httpx.Client, part: Parts, gallery: str) -> None:
    names = ("obama", "no_face", "group", "obama2")
    answer = client.post(references(gallery, "obama"), files=[part("images", name) for name in names])
    assert answer.status_code == 201
    assert answer.headers["location"] == references(gallery, "obama")
    body = answer.json()
    assert (body["gallery"], body["subject"], body["enrolled"]) == (gallery, "obama", 2)
    assert [result.get("code") for result in body["results"]] == [None, "no_face", "several_faces", None]
    assert body["results"][1] == {
        "status": "rejected",
        "code": "no_face",
        "detail": "no face was found in the photograph",
    }
    assert client.get(f"/v1/galleries/{gallery}").json()["references"] == 2


def test_one_reference_has_an_address(client: httpx.Client, part: Parts, gallery: str, photographs: Any) -> None:
    answer = client.post(references(gallery, "ada l"), files=[part("images", "biden")])
    reference = answer.json()["results"][0]["reference"]
    assert answer.headers["location"] == f"/v1/galleries/{gallery}/subjects/ada%20l/references/{reference}"
    kept = client.get(answer.headers["location"]).json()
    assert (kept["id"], kept["subject"], kept["has_photograph"]) == (reference, "ada l", False)
    assert kept["image_sha256"] == hashlib.sha256(photographs["biden"]).hexdigest()
    assert kept["box"] == answer.json()["results"][0]["box"]
    assert "vector" not in kept


def test_nothing_enrolled_is_a_problem_with_all_results(client: httpx.Client, part: Parts, gallery: str) -> None:
    answer = client.post(references(gallery, "x"), files=[part("images", "no_face"), part("images", "group")])
    assert answer.status_code == 422
    document = problem(answer)
    assert (document["code"], document["enrolled"]) == ("no_face", 0)
    assert [result["code"] for result in document["results"]] == ["no_face", "several_faces"]
    assert client.get(f"/v1/galleries/{gallery}").json()["subjects"] == 0


def test_json_enrols_like_a_form(client: httpx.Client, encoded: Encoded, part: Parts, gallery: str) -> None:
    json = client.post(references(gallery, "a"), json={"images": [encoded("obama"), encoded("no_face")]})
    form = client.post(references(gallery, "b"), files=[part("images", "obama"), part("images", "no_face")])
    assert [json.status_code, form.status_code] == [201, 201]
    first, second = (answer.json()["results"] for answer in (json, form))
    assert [without_id(result) for result in first] == [without_id(result) for result in second]


def without_id(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "reference"}


def test_enrolling_again_changes_nothing(client: httpx.Client, enrol: Enrol, gallery: str) -> None:
    once = enrol(gallery, "obama", "obama", "obama2")
    assert enrol(gallery, "obama", "obama2", "obama")["results"] == once["results"][::-1]
    assert client.get(f"/v1/galleries/{gallery}/subjects/obama").json()["references"] == 2


def test_photographs_of_one_request_are_stored_together(client: httpx.Client, enrol: Enrol, gallery: str) -> None:
    enrol(gallery, "obama", "obama", "no_face", "obama2")
    stored = client.get(f"/v1/galleries/{gallery}").json()
    assert (stored["revision"], stored["references"]) == (1, 2)  # one write


def test_the_largest_face_where_the_caller_says_so(client: httpx.Client, part: Parts, gallery: str) -> None:
    answer = client.post(references(gallery, "b"), files=[part("images", "group")], data={"face": "largest"})
    assert answer.status_code == 201
    found = client.post("/v1/identify", files=[part("image", "biden")], data={"gallery": gallery}).json()
    assert found["faces"][0]["decision"] == "match"


def test_strictness_is_the_callers_choice(
    client: httpx.Client, photographs: dict[str, bytes], gallery: str, blurred: bytes
) -> None:
    files = [("images", ("blurred.png", blurred))]
    refused = client.post(references(gallery, "o"), files=files)
    assert (refused.status_code, problem(refused)["code"]) == (422, "face_blurred")
    taken = client.post(references(gallery, "o"), files=files, data={"strict": "false"})
    assert taken.status_code == 201
    assert taken.json()["results"][0]["quality"]["reasons"] == ["face_blurred"]


@pytest.fixture
def blurred(photographs: dict[str, bytes]) -> bytes:
    """Obama, out of focus."""
    from io import BytesIO

    from PIL import Image, ImageFilter

    content = BytesIO()
    with Image.open(BytesIO(photographs["obama"])) as sharp:
        sharp.filter(ImageFilter.GaussianBlur(28)).save(content, "PNG")  # JPEG's blocks have edges
    return content.getvalue()


def test_a_photograph_is_kept_only_where_the_gallery_says_so(
    client: httpx.Client, enrol: Enrol, gallery: str, photographs: dict[str, bytes]
) -> None:
    client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": True})
    kept = enrol(gallery, "obama", "obama")["results"][0]["reference"]
    answer = client.get(f"{references(gallery, 'obama')}/{kept}/photograph")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == photographs["obama"]
    client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": False})
    gone = client.get(f"{references(gallery, 'obama')}/{kept}/photograph")
    assert (gone.status_code, problem(gone)["code"]) == (404, "photograph_not_found")


def test_references_are_listed_oldest_first(client: httpx.Client, enrol: Enrol, gallery: str) -> None:
    names = [enrol(gallery, "obama", name)["results"][0]["reference"] for name in ("obama2", "obama", "biden")]
    first = client.get(references(gallery, "obama"), params={"limit": 2}).json()
    rest = client.get(references(gallery, "obama"), params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [kept["id"] for kept in first["items"] + rest["items"]] == names
    assert rest["next_cursor"] is None


def test_a_deleted_reference_is_not_found_again(
    client: httpx.Client, enrol: Enrol, part: Parts, gallery: str, live: Live
) -> None:
    enrol(gallery, "biden", "biden")
    enrol(gallery, "obama", "obama")
    before = rows(live.settings.data, "face_references")
    address = client.get(references(gallery, "obama")).json()["items"][0]["id"]
    assert client.delete(f"{references(gallery, 'obama')}/{address}").status_code == 204
    assert rows(live.settings.data, "face_references") == before - 1
    again = client.delete(f"{references(gallery, 'obama')}/{address}")
    assert (again.status_code, problem(again)["code"]) == (404, "reference_not_found")
    found = client.post("/v1/identify", files=[part("image", "obama")], data={"gallery": gallery}).json()
    assert [c["subject"] for c in found["faces"][0]["candidates"]] == ["biden"]


@pytest.mark.parametrize("target", ["subject", "gallery"])
def test_deleting_takes_everything_with_it(
    client: httpx.Client, enrol: Enrol, part: Parts, gallery: str, live: Live, target: str
) -> None:
    client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": True})
    before = {table: rows(live.settings.data, table) for table in TABLES}
    enrol(gallery, "obama", "obama", "obama2")
    assert rows(live.settings.data, "photographs") == before["photographs"] + 2
    address = f"/v1/galleries/{gallery}" + ("/subjects/obama" if target == "subject" else "")
    assert client.delete(address).status_code == 204
    assert {table: rows(live.settings.data, table) for table in before} == before
    assert client.get(address).status_code == 404
    if target == "subject":
        found = client.post("/v1/identify", files=[part("image", "obama")], data={"gallery": gallery}).json()
        assert (found["faces"][0]["decision"], found["faces"][0]["candidates"]) == ("unknown", [])


def rows(data: Path, table: str) -> int:
    """Rows in the SQLite file itself, seen from outside the service."""
    connection = sqlite3.connect(data / "facesvc.db")
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        connection.close()


def test_no_gallery_no_enrolment(client: httpx.Client, part: Parts) -> None:
    answer = client.post(references("nowhere", "x"), files=[part("images", "obama")])
    assert (answer.status_code, problem(answer)["code"]) == (404, "gallery_not_found")
