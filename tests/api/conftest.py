"""Live servers over the real pipeline and SQLite, and the photographs as forms and as JSON."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.live import Live, serve, served_settings

Part = tuple[str, tuple[str, bytes]]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Iterator[Live]:
    """The service with its default settings."""
    settings = served_settings(tmp_path_factory.mktemp("live"), default_packs)
    with serve(settings) as running:
        yield running


@pytest.fixture(scope="session")
def tight(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Iterator[Live]:
    """The service with limits that a test can reach."""
    data = tmp_path_factory.mktemp("tight")
    limits = {"max_request_bytes": 1_500_000, "max_image_bytes": 600_000, "max_images": 2, "workers": 1, "queue": 1}
    with serve(served_settings(data, default_packs, **limits)) as running:
        yield running


@pytest.fixture
def client(live: Live) -> httpx.Client:
    return live.client


@pytest.fixture
def gallery(client: httpx.Client) -> str:
    """The name of a new, empty gallery."""
    name = f"g-{uuid4().hex[:12]}"
    assert client.post("/v1/galleries", json={"name": name}).status_code == 201
    return name


@pytest.fixture
def part(photographs: dict[str, bytes]) -> Callable[[str, str], Part]:
    """A form's file part: part(field, photograph's name)."""
    return lambda field, name: (field, (f"{name}.jpg", photographs[name]))


@pytest.fixture
def encoded(photographs: dict[str, bytes]) -> Callable[[str], dict[str, str]]:
    """A photograph inside a JSON document: {"base64": ...}."""
    return lambda name: {"base64": base64.b64encode(photographs[name]).decode()}


@pytest.fixture
def enrol(client: httpx.Client, part: Callable[[str, str], Part]) -> Callable[..., dict[str, Any]]:
    """Enrols photographs by name and returns the answer: enrol(gallery, subject, "obama", "obama2")."""

    def enrol(gallery: str, subject: str, *names: str) -> dict[str, Any]:
        answer = client.post(references(gallery, subject), files=[part("images", name) for name in names])
        assert answer.status_code == 201, answer.text
        return answer.json()

    return enrol


def references(gallery: str, subject: str) -> str:
    return f"/v1/galleries/{gallery}/subjects/{subject}/references"


def problem(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer, whose media type and status are checked on the way."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"/errors/{document['code']}"
    return document
