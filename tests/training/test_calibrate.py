"""The command from photographs to a calibration that the service finds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from facesvc.bootstrap import load_pack
from facesvc.config import Settings
from facesvc.errors import RequestError
from facesvc.models import calibration
from training.calibrate import main, read_subjects, select, summary
from training.calibration.plot import draw
from training.data.folders import Photograph
from training.data.splits import split

CURVE = calibration.create(
    template_version="sha256:v",
    distances=[0.0, 1.0, 1.2, 2.0],
    curves={
        "fmr": [0.0, 0.001, 0.02, 1.0],
        "fmr_low": [0.0, 0.0005, 0.01, 1.0],
        "fmr_high": [0.0001, 0.002, 0.03, 1.0],
        "fnmr": [1.0, 0.05, 0.02, 0.0],
        "fnmr_low": [1.0, 0.04, 0.01, 0.0],
        "fnmr_high": [1.0, 0.06, 0.03, 0.001],
    },
    non_mated=100_000,
    mated=5_000,
    independent=10_000,
    data="made up",
)


@pytest.fixture
def people(samples: Path, tmp_path: Path, locked_build: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the portraits; the service's data lie in ``tmp_path``, with the pack built before."""
    monkeypatch.setenv("FACESVC_DATA", str(tmp_path))
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "sface").symlink_to(locked_build("sface") / "sface")
    return samples / "people"


def photographs(*subjects: str) -> list[Photograph]:
    return [Photograph(Path(f"{subject}/{i}.jpg"), subject) for subject in subjects for i in range(2)]


# --- who is measured --------------------------------------------------------------------------------


def test_only_the_subjects_wanted() -> None:
    chosen = select(photographs("a", "b", "c"), frozenset({"c", "a"}))
    assert [p.name for p in chosen] == ["a/0.jpg", "a/1.jpg", "c/0.jpg", "c/1.jpg"]
    with pytest.raises(RequestError, match="no photographs of d, e"):
        select(photographs("a"), frozenset({"a", "e", "d"}))


def test_subjects_are_read_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "subjects.txt").write_text("ada\n\n  grace hopper \n")
    assert read_subjects(tmp_path / "subjects.txt") == {"ada", "grace hopper"}
    with pytest.raises(RequestError, match=r"nowhere\.txt can't be read"):
        read_subjects(tmp_path / "nowhere.txt")


# --- the whole command on real photographs ----------------------------------------------------------


def test_measured_on_portraits(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(people), "--pack", "sface", "--data", "portraits", "--report", str(tmp_path / "curve.png")]
    assert main([*arguments, "--json", "--resamples", "50"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["data"] == "portraits: 2 people, 4 photographs"
    assert (told["mated"], told["non_mated"], told["pairs_of_people"], told["failures"]) == (3, 3, 1, {})
    assert told["at_fmr"] == {"1e-02": None, "1e-03": None, "1e-04": None}  # two people support no claim
    pack = load_pack(Settings(data=tmp_path, pack="sface"))
    assert pack.calibration is not None  # the user's own goes before the committed one
    assert pack.calibration.id == told["calibration"]
    assert pack.calibration.fmr_at(1.1) == 0.0
    assert pack.calibration.fnmr_at(1.1) == 0.0
    assert (tmp_path / "curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_only_one_part_of_the_split_is_read(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = next(s for s in range(100) if split(["biden", "obama"], s) == {"biden": "train", "obama": "validation"})
    arguments = [str(people), "--pack", "sface", "--parts", "validation", "--seed", str(seed)]
    assert main(arguments) == 2
    assert "a calibration needs two people" in capsys.readouterr().err  # Obama alone
    assert not list(tmp_path.glob("packs/calibrations/*"))


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("invalid_request: ")


# --- what is told -----------------------------------------------------------------------------------


def test_the_summary() -> None:
    found = summary(CURVE, 1.0)
    assert found["smallest_fmr"] == pytest.approx(3e-4)
    assert found["at_threshold"] == {
        "threshold": 1.0,
        "fmr": 0.001,
        "fmr_interval": (0.0005, 0.002),
        "fnmr": 0.05,
        "fnmr_interval": (0.04, 0.06),
    }
    assert found["at_fmr"]["1e-03"]["threshold"] == 1.0
    assert found["at_fmr"]["1e-03"]["scale"] == pytest.approx(1.1 / (0.0009 / 0.0019))  # where fmr_high is 0.001
    assert found["at_fmr"]["1e-04"] is None


def test_the_plot_says_the_rates_at_the_threshold(tmp_path: Path) -> None:
    draw(tmp_path / "curve.svg", CURVE, 1.0, "A pack")
    drawn = (tmp_path / "curve.svg").read_text()  # its letters are shapes, its texts are beside them as comments
    for text in ("A pack", "FMR 0.100% (0.050% to 0.200%)", "FNMR 5.00% (4.00% to 6.00%)", "0.1 %"):
        assert f"<!-- {text} -->" in drawn or text in drawn
