"""Pipelines of several packs: opened once, when they are needed, and closed once nobody uses them."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from facesvc.core.types import Capture, FaceChoice
from facesvc.errors import PackNotFound, TemplateVersionMismatch
from facesvc.pipeline.packs import LoadedPacks


class Named:
    """core.ports.Extractor that is known by its version."""

    title, norm, calibration, threshold = "Named", 1.0, None, 1.1

    def __init__(self, template_version: str) -> None:
        self.template_version = self.pack = template_version

    def detect(self, photograph: bytes) -> Capture:
        return Capture((), 0, 1, 1)

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        return self.detect(photograph)


class Opened:
    """Opens pipelines, and notes what was opened and closed."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.living = {"a", "b", "c"}

    @contextmanager
    def open(self, version: str) -> Iterator[Named]:
        if version == "nowhere":
            raise TemplateVersionMismatch(f"no model pack here makes template version {version}")
        self.notes.append(f"+{version}")
        yield Named(version)
        self.notes.append(f"-{version}")

    def packs(self) -> LoadedPacks:
        return LoadedPacks(Named("a"), self.open, {"pack of b": "b"}.__getitem__, lambda: self.living)


def test_each_is_opened_once_and_closed_at_the_end() -> None:
    opened = Opened()
    packs = opened.packs()
    assert packs.of("a") is packs.default
    assert opened.notes == []
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(packs.of, ["b", "c"] * 8))
    assert {id(extractor) for extractor in found} == {id(packs.of("b")), id(packs.of("c"))}
    assert sorted(opened.notes) == ["+b", "+c"]
    assert (packs.version_of("pack of b"), packs.version_of("a")) == ("b", "a")
    packs.close()
    assert sorted(opened.notes) == ["+b", "+c", "-b", "-c"]
    packs.close()
    assert len(opened.notes) == 4


def test_what_no_gallery_holds_is_closed_once_nobody_uses_it() -> None:
    opened = Opened()
    packs = opened.packs()
    used = packs.of("b")
    opened.living = {"a", "c"}
    packs.of("c")
    gc.collect()
    assert opened.notes == ["+b", "+c"]
    assert used.extract(b"", FaceChoice.ALL).faces_found == 0
    del used
    gc.collect()
    assert opened.notes == ["+b", "+c", "-b"]
    assert packs.of("b").template_version == "b"
    packs.close()
    assert opened.notes == ["+b", "+c", "-b", "+b", "-c", "-b"]


def test_packs_that_are_not_here() -> None:
    packs = Opened().packs()
    with pytest.raises(TemplateVersionMismatch, match="no model pack here makes template version nowhere"):
        packs.of("nowhere")
    alone = LoadedPacks(Named("a"))
    with pytest.raises(TemplateVersionMismatch):
        alone.of("b")
    with pytest.raises(PackNotFound, match="there is no pack 'b'"):
        alone.version_of("b")
