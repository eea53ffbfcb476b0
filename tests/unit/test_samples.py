"""Sample photographs: what lies where, repaired when damaged, refused when a digest differs."""

import hashlib
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesvc.cli.samples import CARRIERS, GROUP_HEIGHT, download, fetch, unpack
from facesvc.errors import SamplesUnavailable


@pytest.fixture
def copy(samples: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(samples, tmp_path / "samples"))


def never(message: str) -> None:
    raise AssertionError(f"nothing was to be fetched, yet: {message}")


def test_the_folder_as_the_quickstart_uses_it(samples: Path) -> None:
    photographs = [str(path.relative_to(samples)) for path in fetch(samples, report=never)]
    assert photographs == [
        "astronaut.png",
        "group.jpg",
        "no_face.jpg",
        "partial/obama_partial.jpg",
        "partial/obama_partial2.jpg",
        "people/biden/biden.jpg",
        "people/obama/obama.jpg",
        "people/obama/obama2.jpg",
        "people/obama/obama3.jpg",
    ]
    assert "public domain" in (samples / "NOTICE.txt").read_text()


def test_photographs_are_the_published_ones(samples: Path) -> None:
    expected = dict(photograph for carrier in CARRIERS for photograph in carrier.photographs.values())
    assert {name: hashlib.sha256((samples / name).read_bytes()).hexdigest() for name in expected} == expected


def test_the_group_shows_the_people_side_by_side(samples: Path) -> None:
    with Image.open(samples / "group.jpg") as group, Image.open(samples / "people/obama/obama.jpg") as obama:
        assert group.size == (390 + 390 + 390, GROUP_HEIGHT)
        part = obama.crop((230, 0, 750, 640)).resize((390, 480), Image.Resampling.LANCZOS)
        difference = np.abs(np.asarray(group.crop((0, 0, 390, 480)), int) - np.asarray(part, int))
    assert difference.mean() < 3


def test_only_what_is_damaged_is_fetched_again(copy: Path) -> None:
    (copy / "people/biden/biden.jpg").write_bytes(b"half")
    (copy / "group.jpg").unlink()
    untouched = (copy / "astronaut.png").stat().st_mtime_ns
    reports: list[str] = []
    fetch(copy, reports.append)
    assert reports == ["fetching sample photographs from face-recognition==1.3.0"]
    assert (copy / "astronaut.png").stat().st_mtime_ns == untouched
    assert not list(copy.rglob("*.part"))
    with Image.open(copy / "people/biden/biden.jpg") as biden, Image.open(copy / "group.jpg") as group:
        assert (biden.size, group.size) == ((970, 2204), (1170, 480))


def test_an_archive_with_another_digest_is_refused_by_pip(tmp_path: Path) -> None:
    forged = replace(CARRIERS[0], sha256="0" * 64)
    with pytest.raises(SamplesUnavailable, match=r"pip could not download face-recognition==1\.3\.0"):
        unpack(forged, tmp_path / "samples")
    assert not (tmp_path / "samples").exists()


def test_a_photograph_with_another_digest_is_refused(tmp_path: Path) -> None:
    members = {member: (name, "0" * 64) for member, (name, _) in CARRIERS[1].photographs.items()}
    with pytest.raises(SamplesUnavailable, match=r"astronaut\.png of scikit-image==0\.26\.0 is not the expected"):
        unpack(replace(CARRIERS[1], photographs=members), tmp_path / "samples")
    assert not (tmp_path / "samples").exists()


def test_a_package_that_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = replace(CARRIERS[1], requirement="scikit-image==0.0.0.dev0")
    with pytest.raises(SamplesUnavailable, match=r"pip could not download scikit-image==0\.0\.0\.dev0: \S+"):
        download(missing, tmp_path)


def test_the_landscape_is_a_picture(samples: Path) -> None:
    with Image.open(BytesIO((samples / "no_face.jpg").read_bytes())) as landscape:
        assert (landscape.size, landscape.mode) == ((800, 600), "RGB")
        assert landscape.getpixel((645, 105)) == pytest.approx((255, 240, 190), abs=4)
