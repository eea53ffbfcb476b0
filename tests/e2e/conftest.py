"""A live server, a gallery that knows two people, and a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.live import Live, serve, served_settings


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
