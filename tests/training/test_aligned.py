"""Aligned sets of real photographs: the chips are the service's, and a second run does what changed and no more."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from facesvc.config import Settings
from facesvc.core.types import Pixels
from facesvc.errors import RequestError
from facesvc.models.packs import Packs
from facesvc.pipeline.align import align
from facesvc.pipeline.detect import open_detector
from training.aligned import MANIFEST, AlignedSet, prepare
from training.data.crop import ARCFACE, border, landmarks
from training.data.folders import Photograph, read_folder
from training.data.ledger import LEDGER

FILES = ["biden/biden.jpg", "obama/obama.jpg", "obama/obama2.jpg"]
FAILURES = {"biden/broken.jpg": "corrupt_image", "biden/no_face.jpg": "no_face", "obama/text.jpg": "not_an_image"}


@pytest.fixture
def settings(tmp_path: Path, packs_folder: Path) -> Settings:
    """Detectors are built in the tests' own folder of packs, once for all."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "packs").symlink_to(packs_folder)
    return Settings(data=data, detector="yunet-onet")


@pytest.fixture
def people(tmp_path: Path, photographs: dict[str, bytes]) -> Path:
    folder = tmp_path / "people"
    contents = {f"{file}": photographs[Path(file).stem] for file in FILES} | {
        "biden/broken.jpg": photographs["biden"][:3000],
        "biden/no_face.jpg": photographs["no_face"],
        "obama/text.jpg": b"no image at all",
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def bring_up(people: Path, settings: Settings, tmp_path: Path) -> Callable[..., AlignedSet]:
    def run(**values: float) -> AlignedSet:
        return prepare(read_folder(people), tmp_path / "aligned", settings=settings, **values)  # type: ignore[arg-type]

    return run


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_chips_are_what_the_service_would_embed(
    bring_up: Callable[..., AlignedSet], settings: Settings, pixels: dict[str, Pixels]
) -> None:
    aligned = bring_up()
    assert aligned.files == FILES
    assert aligned.subjects.tolist() == ["biden", "obama", "obama"]
    assert aligned.labels.tolist() == [0, 1, 1]
    assert aligned.failures == FAILURES
    assert (aligned.size, aligned.margin) == (112, 0)
    crop = Packs(settings.packs).manifest("sface").networks[0].crop
    detector = open_detector("yunet-onet", Packs(settings.packs).detector_file)
    for file, chip in zip(FILES, aligned.chips, strict=True):
        photograph = pixels[Path(file).stem]
        expected = align(photograph, detector.detect(photograph)[0].landmarks, crop.landmarks, crop.size)
        assert np.array_equal(chip, expected)


def test_chips_are_mapped_and_can_not_be_changed(bring_up: Callable[..., AlignedSet]) -> None:
    chips = bring_up().chips
    assert isinstance(chips, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        chips[0] = 0


def test_the_crop_is_the_middle_of_a_chip_with_context(bring_up: Callable[..., AlignedSet]) -> None:
    """128 px of which an eighth is context hold the 112 px crop, place by place; where the photograph is halved on the
    way, which pixels are averaged depends on where the chip begins, so edges may differ a little. One pixel of shift
    would make a mean difference above 3."""
    plain = bring_up().chips.astype(int)
    wide = bring_up(size=128, margin=0.125).chips.astype(int)
    assert border(128, 0.125) == 8
    assert wide.shape == (3, 128, 128, 3)
    assert np.abs(wide[:, 8:-8, 8:-8] - plain).mean() < 1
    assert np.abs(wide[:, 8:-8, 9:-7] - plain).mean() > 3


def test_landmarks_scale_about_the_corner() -> None:
    assert np.array_equal(landmarks(112, 0), np.array(ARCFACE))
    assert landmarks(224, 0) == pytest.approx(2 * np.array(ARCFACE) + 0.5)
    assert landmarks(128, 0.125) == pytest.approx(np.array(ARCFACE) + 8)
    for size, margin in ((112, 0.9), (112, -0.1), (15, 0)):
        with pytest.raises(RequestError, match="leaves no crop"):
            landmarks(size, margin)


def test_a_second_run_changes_nothing(bring_up: Callable[..., AlignedSet], people: Path, tmp_path: Path) -> None:
    """Not even reads the photographs: they could be gone but for their size and time."""
    bring_up()
    before = state(tmp_path / "aligned")
    for path in people.rglob("*.jpg"):
        times, size = path.stat(), path.stat().st_size
        path.write_bytes(bytes(size))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert bring_up().files == FILES
    assert state(tmp_path / "aligned") == before


def test_touched_files_are_known_by_their_digest(
    bring_up: Callable[..., AlignedSet], people: Path, tmp_path: Path
) -> None:
    """A mark left in the stored chip would be gone if it were made again."""
    bring_up()
    with (tmp_path / "aligned" / "chips-0.u8").open("r+b") as file:
        file.write(b"mark")
    os.utime(people / FILES[0], ns=(1, 1))
    aligned = bring_up()
    assert aligned.chips[0].tobytes()[:4] == b"mark"
    assert '"mtime_ns":1,' in (tmp_path / "aligned" / LEDGER).read_text()


def test_changes_end_in_what_a_first_run_would_give(
    bring_up: Callable[..., AlignedSet], people: Path, settings: Settings, photographs: dict[str, bytes], tmp_path: Path
) -> None:
    bring_up()
    (people / "biden/broken.jpg").write_bytes(photographs["biden"])
    (people / "obama/obama.jpg").write_bytes(photographs["obama3"])
    (people / "obama/obama2.jpg").unlink()
    (people / "astronaut").mkdir()
    (people / "astronaut" / "a.png").write_bytes(photographs["astronaut"])
    changed = bring_up()
    fresh = prepare(read_folder(people), tmp_path / "fresh", settings=settings)
    assert changed.files == fresh.files == ["astronaut/a.png", "biden/biden.jpg", "biden/broken.jpg", "obama/obama.jpg"]
    assert np.array_equal(changed.chips, fresh.chips)
    assert changed.failures == fresh.failures == {k: v for k, v in FAILURES.items() if k != "biden/broken.jpg"}
    lines = [(tmp_path / folder / LEDGER).read_text().splitlines()[1:] for folder in ("aligned", "fresh")]
    assert lines[0] == lines[1]
    assert sorted(state(tmp_path / "aligned")) == ["chips-1.u8", LEDGER, MANIFEST]


def test_another_size_starts_over(bring_up: Callable[..., AlignedSet], tmp_path: Path) -> None:
    bring_up()
    assert bring_up(size=96).chips.shape == (3, 96, 96, 3)
    assert (tmp_path / "aligned" / "chips-0.u8").stat().st_size == 3 * 96 * 96 * 3


def test_a_set_without_a_face_is_empty(settings: Settings, people: Path, tmp_path: Path) -> None:
    aligned = prepare([Photograph(people / "biden/no_face.jpg", "x")], tmp_path / "none", settings=settings)
    assert aligned.chips.shape == (0, 112, 112, 3)
    assert (aligned.files, aligned.failures) == ([], {"biden/no_face.jpg": "no_face"})


def test_a_file_that_can_not_be_read_is_tried_again(
    bring_up: Callable[..., AlignedSet], people: Path, settings: Settings, photographs: dict[str, bytes], tmp_path: Path
) -> None:
    listed = [*read_folder(people), Photograph(people / "obama" / "late.jpg", "obama")]
    first = prepare(listed, tmp_path / "aligned", settings=settings)
    assert first.failures == {**FAILURES, "obama/late.jpg": "file_unreadable"}
    (people / "obama" / "late.jpg").write_bytes(photographs["obama3"])
    assert prepare(listed, tmp_path / "aligned", settings=settings).files == [*FILES, "obama/late.jpg"]


def test_unfinished_sets_are_not_loaded(bring_up: Callable[..., AlignedSet], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no aligned set"):
        AlignedSet.load(tmp_path)
    bring_up()
    (tmp_path / "aligned" / MANIFEST).unlink()
    with pytest.raises(RequestError, match="is not complete"):
        AlignedSet.load(tmp_path / "aligned")
    bring_up()
    os.truncate(tmp_path / "aligned" / "chips-0.u8", 112 * 112 * 3)
    with pytest.raises(RequestError, match="is not complete"):
        AlignedSet.load(tmp_path / "aligned")
    assert bring_up().files == FILES


def test_two_runs_at_once_and_names_that_clash_are_refused(
    bring_up: Callable[..., AlignedSet], people: Path, settings: Settings, tmp_path: Path
) -> None:
    bring_up()
    with FileLock(tmp_path / "aligned" / ".lock"), pytest.raises(RequestError, match="another run is writing"):
        bring_up()
    shutil.copytree(people, tmp_path / "copy")
    with pytest.raises(RequestError, match=r"two photographs are called biden/biden\.jpg"):
        prepare(read_folder(people) + read_folder(tmp_path / "copy"), tmp_path / "both", settings=settings)
