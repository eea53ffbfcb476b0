"""Galleries and subjects: create, read, change, list, delete; names and metadata."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.conftest import problem


def test_a_gallery_from_birth_to_death(client: httpx.Client) -> None:
    made = client.post("/v1/galleries", json={"name": "night shift", "metadata": {"site": "é", "floor": 3}})
    assert made.status_code == 201
    address = made.headers["location"]
    assert address == "/v1/galleries/night%20shift"
    body = made.json()
    assert (body["name"], body["subjects"], body["references"]) == ("night shift", 0, 0)
    assert (body["keep_photographs"], body["metadata"]) == (False, {"site": "é", "floor": 3})
    assert body["template_version"] == client.get("/v1/model").json()["template_version"]
    assert client.get(address).json() == body
    changed = client.patch(address, json={"metadata": {"site": "b"}})
    assert (changed.json()["metadata"], changed.json()["keep_photographs"]) == ({"site": "b"}, False)
    again = client.post("/v1/galleries", json={"name": "night shift"})
    assert (again.status_code, problem(again)["code"]) == (409, "gallery_exists")
    assert client.delete(address).status_code == 204
    gone = client.get(address)
    assert (gone.status_code, problem(gone)["code"]) == (404, "gallery_not_found")


def test_a_subject_from_birth_to_death(client: httpx.Client, gallery: str) -> None:
    list_address = f"/v1/galleries/{gallery}/subjects"
    made = client.post(list_address, json={"id": "ada", "display_name": "Ada Lovelace", "metadata": {"n": [1, None]}})
    assert made.status_code == 201
    address = made.headers["location"]
    assert address == f"{list_address}/ada"
    body = made.json()
    assert (body["id"], body["gallery"], body["references"]) == ("ada", gallery, 0)
    assert (body["display_name"], body["metadata"]) == ("Ada Lovelace", {"n": [1, None]})
    assert client.get(address).json() == body
    changed = client.patch(address, json={"display_name": "A. King"}).json()
    assert (changed["display_name"], changed["metadata"]) == ("A. King", {"n": [1, None]})
    again = client.post(list_address, json={"id": "ada"})
    assert (again.status_code, problem(again)["code"]) == (409, "subject_exists")
    assert client.delete(address).status_code == 204
    gone = client.delete(address)
    assert (gone.status_code, problem(gone)["code"]) == (404, "subject_not_found")


def test_paging_over_25_subjects(client: httpx.Client, gallery: str) -> None:
    address = f"/v1/galleries/{gallery}/subjects"
    names = [f"s{number:02}" for number in range(25)]
    for name in reversed(names):
        client.post(address, json={"id": name})
    pages, cursor = [], None
    while not pages or cursor:
        page = client.get(address, params={"limit": 10, **({"cursor": cursor} if cursor else {})}).json()
        pages.append([subject["id"] for subject in page["items"]])
        cursor = page["next_cursor"]
    assert [len(page) for page in pages] == [10, 10, 5]
    listed = [name for page in pages for name in page]
    assert sorted(listed) == names
    assert listed != names, "their order tells nothing of their names"


def test_galleries_are_listed_in_an_order_that_lasts(client: httpx.Client, gallery: str) -> None:
    listings = [client.get("/v1/galleries", params={"limit": 500}).json()["items"] for _ in range(2)]
    first, second = ([kept["name"] for kept in listed] for listed in listings)
    assert first == second
    assert {"default", gallery} <= set(first)


def test_a_cursor_of_ones_own_making(client: httpx.Client, gallery: str) -> None:
    answer = client.get(f"/v1/galleries/{gallery}/subjects", params={"cursor": "no cursor of ours"})
    assert (answer.status_code, problem(answer)["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "\x00", "\x7f", "x" * 129, ".", ".."])
def test_names_that_are_refused(client: httpx.Client, name: str) -> None:
    answer = client.post("/v1/galleries", json={"name": name})
    assert answer.status_code == 422
    document = problem(answer)
    assert (document["code"], [error["field"] for error in document["errors"]]) == ("invalid_request", ["name"])


@pytest.mark.parametrize("name", ["Zoë Q.", "日本", "a+b&c=d?#%41", "  ", "x" * 128, "..."])
def test_names_that_are_taken(client: httpx.Client, gallery: str, name: str) -> None:
    made = client.post(f"/v1/galleries/{gallery}/subjects", json={"id": name})
    assert made.headers["location"] == f"/v1/galleries/{gallery}/subjects/{quote(name, safe='')}"
    assert client.get(made.headers["location"]).json()["id"] == name


def test_a_control_character_in_an_address(client: httpx.Client) -> None:
    answer = client.get("/v1/galleries/a%0Ab")
    assert problem(answer)["errors"] == [
        {
            "field": "path.gallery",
            "detail": r"String should match pattern '^[^/\u0000-\u001f\u007f-\u009f]{1,128}$'",
        }
    ]


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ('{"a": NaN}', "metadata must be JSON: Out of range float values are not JSON compliant"),
        ('{"a": 1e999}', "metadata must be JSON: Out of range float values are not JSON compliant"),
        ('{"a": "\\u0000"}', "metadata can't hold the character U+0000"),
        ('{"a": "' + "x" * 17_000 + '"}', "metadata may have at most 16384 bytes of JSON"),
        ("[]", "Input should be an object"),
    ],
)
def test_metadata_that_is_refused(client: httpx.Client, metadata: str, complaint: str) -> None:
    body = f'{{"name": "m", "metadata": {metadata}}}'
    answer = client.post("/v1/galleries", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    (error,) = problem(answer)["errors"]
    assert error["field"] == "metadata"
    assert error["detail"].startswith(complaint)


def test_metadata_with_an_escaped_backslash(client: httpx.Client, gallery: str) -> None:
    metadata: dict[str, Any] = {"path": r"C:\u0000", "deep": {"list": [1.5, "é", None, True]}}
    assert client.patch(f"/v1/galleries/{gallery}", json={"metadata": metadata}).json()["metadata"] == metadata


def test_a_misspelt_field_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/galleries", json={"name": "m", "keep_photograph": True})
    assert problem(answer)["errors"] == [{"field": "keep_photograph", "detail": "Extra inputs are not permitted"}]
