"""Photographs to identify, and a live server with a gallery that knows two people."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import Live, serve, served_settings


@pytest.fixture(scope="module")
def probes(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of known and unknown people, a group, and files that can't be processed."""
    folder = tmp_path_factory.mktemp("probes")
    for source in ("people/obama/obama2.jpg", "people/biden/biden.jpg", "astronaut.png", "group.jpg", "no_face.jpg"):
        shutil.copy(samples / source, folder / Path(source).name)
    (folder / "broken.jpg").write_bytes((samples / "people" / "biden" / "biden.jpg").read_bytes()[:5000])
    (folder / "empty.jpg").touch()
    return folder


@pytest.fixture(scope="session")
def page_server(
    tmp_path_factory: pytest.TempPathFactory, default_packs: Path, photographs: dict[str, bytes]
) -> Iterator[Live]:
    with serve(served_settings(tmp_path_factory.mktemp("page"), default_packs)) as running:
        for subject in ("obama", "biden"):
            address = f"/v1/galleries/default/subjects/{subject}/references"
            answer = running.client.post(address, files=[("images", (f"{subject}.jpg", photographs[subject]))])
            assert answer.status_code == 201
        yield running
