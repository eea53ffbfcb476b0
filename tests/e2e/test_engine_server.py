"""A server of its own process with one gallery in Milvus, over HTTP, on real photographs."""

import httpx
import pytest

from facesvc.index.milvus import MilvusServer
from tests.support.commandline import CommandLine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("engines")]
PEOPLE = {"obama": ("obama", "obama2"), "biden": ("biden",)}


@pytest.fixture
def cli(cli: CommandLine, milvus_uri: str, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """With the gallery "staff" in Milvus."""
    monkeypatch.setenv("FACESVC_MILVUS_URI", milvus_uri)
    monkeypatch.setenv("FACESVC_GALLERY_INDEX", '{"staff": "milvus"}')
    return cli


def kept(milvus_uri: str) -> dict[str, int]:
    """References in each gallery's collection."""
    with MilvusServer(milvus_uri).asked() as client:
        names = [name for name in client.list_collections() if name.startswith("facesvc_") and "standings" not in name]
        counts = {name: client.query(name, output_fields=["count(*)"], consistency_level="Strong") for name in names}
    return {name: rows[0]["count(*)"] for name, rows in counts.items()}


def identified(client: httpx.Client, photograph: bytes) -> list[str | None]:
    """The people of a photograph, from the left to the right, None for those that are unknown."""
    files = [("image", ("group.jpg", photograph))]
    answer = client.post("/v1/identify", files=files, data={"gallery": "staff"}).raise_for_status().json()
    faces = sorted(answer["faces"], key=lambda face: face["box"][0])
    return [face["candidates"][0]["subject"] if face["decision"] == "match" else None for face in faces]


def test_a_gallery_in_milvus(cli: CommandLine, milvus_uri: str, photographs: dict[str, bytes]) -> None:
    elsewhere = set(kept(milvus_uri))
    with cli.serving() as url, httpx.Client(base_url=url, timeout=60) as client:
        client.post("/v1/galleries", json={"name": "staff"}).raise_for_status()
        for person, names in PEOPLE.items():
            images = [("images", (f"{name}.jpg", photographs[name])) for name in names]
            client.post(f"/v1/galleries/staff/subjects/{person}/references", files=images).raise_for_status()
        assert identified(client, photographs["group"]) == ["obama", "biden", None]
        assert [count for name, count in kept(milvus_uri).items() if name not in elsewhere] == [3]
        client.delete("/v1/galleries/staff/subjects/biden").raise_for_status()
        assert identified(client, photographs["group"]) == ["obama", None, None]
    assert [count for name, count in kept(milvus_uri).items() if name not in elsewhere] == [2]
    with cli.serving() as url, httpx.Client(base_url=url, timeout=60) as client:
        assert identified(client, photographs["group"]) == ["obama", None, None]
        client.delete("/v1/galleries/staff").raise_for_status()
        assert set(kept(milvus_uri)) == elsewhere
