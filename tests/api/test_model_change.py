"""A gallery changes its model pack over HTTP, and galleries of two packs are served side by side."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from facesvc.bootstrap import bootstrap
from tests.api.conftest import Part, problem, references
from tests.support.live import Live

PACK = "sface"


@pytest.fixture
def album(live: Live, gallery: str, locked_build: Callable[[str], Path], part: Callable[[str, str], Part]) -> str:
    """Address of the model change of a gallery that keeps photographs: two of obama, one of biden."""
    locked_build(PACK)
    live.client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": True})
    for subject, names in (("obama", ("obama", "obama2")), ("biden", ("biden",))):
        files = [part("images", name) for name in names]
        assert live.client.post(references(gallery, subject), files=files).status_code == 201
    return f"/v1/galleries/{gallery}/model-change"


def other(answer: httpx.Response) -> tuple[str, int, int | None]:
    shown = answer.json()
    return shown["other"]["state"], shown["other"]["templates"], shown["missing"]


def asked(client: httpx.Client, gallery: str, file: Part) -> dict[str, Any]:
    """An identification, whose nearest candidate is what verification finds for that subject."""
    answer = client.post("/v1/identify", files=[file], data={"gallery": gallery}).json()
    found = answer["faces"][0]["candidates"][0]
    reference = {"gallery": gallery, "subject": found["subject"]}
    verified = client.post("/v1/verify", files=[("probe", file[1])], data=reference).json()
    assert (verified["distance"], verified["template_version"]) == (found["distance"], answer["template_version"])
    return {"version": answer["template_version"], **{name: found[name] for name in ("subject", "distance", "match")}}


def test_there_and_back_over_http(live: Live, album: str, part: Callable[[str, str], Part]) -> None:
    client, gallery = live.client, album.split("/")[3]
    default = client.get("/v1/model").json()["template_version"]
    started = client.post(album, json={"pack": PACK})
    assert (started.status_code, started.headers["location"]) == (201, album)
    assert other(started) == ("filling", 0, 3)
    refused = client.post(f"{album}/cut-over")
    assert (refused.status_code, problem(refused)["code"]) == (409, "model_change_incomplete")
    with bootstrap(live.settings) as elsewhere:
        elsewhere.model_changes.run(gallery)
    assert other(client.get(album)) == ("filling", 3, 0)
    before = asked(client, gallery, part("image", "obama3"))
    assert (before["version"], before["subject"], before["match"]) == (default, "obama", True)
    agreement = client.get(f"{album}/agreement", params={"sample": 10}).json()
    tables = {kind: [agreement[kind][name] for name in ("both", "old_only", "new_only", "neither")] for kind in
              ("mated", "non_mated", "rank_1")}  # fmt: skip
    assert tables == {"mated": [1, 0, 0, 0], "non_mated": [0, 0, 0, 2], "rank_1": [2, 0, 0, 0]}
    assert (agreement["references"], agreement["mated"]["changed"], agreement["worst"]) == (3, 0.0, [])

    assert other(client.post(f"{album}/cut-over")) == ("standby", 3, 0)
    after = asked(client, gallery, part("image", "obama3"))
    assert after["version"] == agreement["new"]["template_version"] != default
    served = client.get(f"/v1/galleries/{gallery}/model").json()
    assert (served["name"], served["template_version"]) == (PACK, after["version"])
    assert client.get("/v1/model").json()["template_version"] == default
    assert (after["subject"], after["match"], after["distance"] != before["distance"]) == ("obama", True, True)
    (first, *_) = client.get(references(gallery, "obama")).json()["items"]
    assert first["template_version"] == after["version"]
    assert other(client.post(f"{album}/roll-back")) == ("filling", 3, 0)
    assert asked(client, gallery, part("image", "obama3")) == before
    client.post(f"{album}/cut-over")
    finished = client.post(f"{album}/finish").json()
    assert (finished["other"], finished["missing"], finished["template_version"]) == (None, None, after["version"])
    assert asked(client, gallery, part("image", "obama3")) == after
    conflict = client.post(f"{album}/roll-back")
    assert (conflict.status_code, problem(conflict)["code"]) == (409, "model_change_conflict")


def test_who_is_left_behind(live: Live, gallery: str, album: str, part: Callable[[str, str], Part]) -> None:
    client = live.client
    client.patch(f"/v1/galleries/{gallery}", json={"keep_photographs": False})
    assert client.post(album, json={"pack": PACK}).status_code == 201
    client.post(references(gallery, "ada"), files=[part("images", "astronaut")])
    assert other(client.get(album)) == ("filling", 1, 3)
    listed = client.get(f"{album}/left-behind", params={"limit": 2}).json()
    assert [(item["subject"], item["code"]) for item in listed["items"]] == [("obama", "photograph_not_found")] * 2
    assert other(client.post(f"{album}/cut-over", params={"leave_behind": True})) == ("standby", 4, 0)
    assert asked(client, gallery, part("image", "astronaut"))["subject"] == "ada"
    lost = client.post("/v1/verify", files=[part("probe", "obama")], data={"gallery": gallery, "subject": "obama"})
    assert problem(lost)["code"] == "subject_not_found"
    assert client.get(references(gallery, "obama")).json()["items"][0]["template_version"] is None
    again = client.post(references(gallery, "obama"), files=[part("images", "obama")])
    assert again.json()["results"][0]["status"] == "enrolled"
    assert asked(client, gallery, part("image", "obama2"))["subject"] == "obama"


def test_starting_what_is_not_possible(client: httpx.Client, gallery: str) -> None:
    address = f"/v1/galleries/{gallery}/model-change"
    unknown = client.post(address, json={"pack": "nonsense"})
    assert (unknown.status_code, problem(unknown)["code"]) == (422, "invalid_request")
    same = client.post(address, json={"pack": "fusion"})
    assert (same.status_code, problem(same)["code"]) == (409, "model_change_conflict")
    assert client.get(address).json()["other"] is None
    assert problem(client.delete(address))["code"] == "model_change_conflict"
