"""`facesvc evaluate` on sample portraits: the figures, the files, and the page in a real Chromium."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.support.commandline import CommandLine

pytestmark = pytest.mark.xdist_group("evaluation-report")  # one worker: what they share is started once

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAIRS = "2\t1\nobama\t1\t2\nobama\t1\tbiden\t1\nobama\t2\t4\nobama\t3\tbiden\t1\n"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """Three people in LFW's layout; obama's fourth photograph has no face."""
    folder = tmp_path_factory.mktemp("people")
    for name, files in {
        "obama": ["people/obama/obama.jpg", "people/obama/obama2.jpg", "people/obama/obama3.jpg", "no_face.jpg"],
        "biden": ["people/biden/biden.jpg"],
        "collins": ["astronaut.png"],
    }.items():
        (folder / name).mkdir()
        for i, file in enumerate(files, 1):
            shutil.copy(samples / file, folder / name / f"{name}_{i:04d}.jpg")
    (folder / "pairs.txt").write_text(PAIRS)
    (folder / "groups.csv").write_text("person,office\nobama,president\nbiden,president\ncollins,astronaut\n")
    return folder


@pytest.fixture(scope="module")
def report(cli: CommandLine, people: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("report")
    options = ["--pairs", people / "pairs.txt", "--images", people, "--resamples", 50, "--report", folder]
    groups = ["--groups", people / "groups.csv", "--subject-column", "person", "--group-by", "work=office"]
    return cli.json("evaluate", *options, *groups), folder


def test_figures_of_a_pair_list(report: tuple[dict[str, Any], Path]) -> None:
    figures, _ = report
    assert (figures["pairs"], figures["photographs"], figures["failures_to_enrol"]) == (4, 5, 1)
    assert figures["failures"] == {"obama/obama_0004.jpg": "no_face"}
    assert figures["at_threshold"]["fnmr"] == 0.5  # the photograph without a face matches nothing
    assert figures["at_threshold"]["fmr"] == 0.0
    assert figures["tar"] == {"1e-2": 0.5, "1e-3": 0.5}
    assert figures["val"]["1e-2"] == {"mean": 0.5, "se": 0.5, "far": 0.5}
    presidents = next(row for row in figures["groups"][0]["groups"] if row["group"] == "president")
    assert (presidents["subjects"], presidents["mated"], presidents["non_mated"]) == (2, 6, 4)
    assert presidents["fnmr"] == 0.5  # three of the six comparisons have the failed photograph
    assert presidents["small"] is True


def test_files_of_a_report(report: tuple[dict[str, Any], Path]) -> None:
    figures, folder = report
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "scores.csv"]
    written = json.loads((folder / "report.json").read_text())
    assert {name: written[name] for name in figures} == figures
    with (folder / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["first"], row["second"], row["mated"], row["fold"]) for row in rows] == [
        ("obama/obama_0001.jpg", "obama/obama_0002.jpg", "1", "0"),
        ("obama/obama_0001.jpg", "biden/biden_0001.jpg", "0", "0"),
        ("obama/obama_0002.jpg", "obama/obama_0004.jpg", "1", "1"),
        ("obama/obama_0003.jpg", "biden/biden_0001.jpg", "0", "1"),
    ]
    assert float(rows[2]["distance"]) == 4.0
    assert float(rows[0]["distance"]) == pytest.approx(0.424, abs=0.01)
    hardest = [(case["first"], case["second"], case["wrong"]) for case in written["hardest"] if case["mated"]]
    assert hardest == [("obama/obama_0001.jpg", "obama/obama_0002.jpg", False)]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.xdist_group("browser")
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
def test_the_page_tells_the_figures(report: tuple[dict[str, Any], Path]) -> None:
    figures, folder = report
    complaints: list[str] = []
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: complaints.append(request.url) if "http" in request.url[:5] else None)
        page.goto((folder / "report.html").as_uri())
        tiles = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd.value").all_inner_texts(), strict=True))
        named = page.get_by_role("img", name="Detection error trade-off: FNMR against FMR").count()
        shown = page.evaluate("[...document.images].map(image => [image.alt, image.naturalWidth])")
        failures = page.locator("section[aria-labelledby=failures] tbody td").all_inner_texts()
        contract = page.locator("section[aria-labelledby=contract]").inner_text()
        repeated = page.evaluate(
            "(ids => ids.length - new Set(ids).size)([...document.all].map(e => e.id).filter(i => i))"
        )
        browser.close()
    assert tiles["FNMR at 1.1"] == "50.00 %"
    assert tiles["TAR at FMR 1e-2"] == "50.00 %"
    assert tiles["Failures to enrol"] == "1"
    assert tiles["Accuracy over folds"] == f"{figures['accuracy']:.2%}".replace("%", " %")
    assert named == 1
    assert ["biden/biden_0001.jpg", 96] in shown
    assert len(shown) == 6  # two pictures for each of the three pairs that have a distance
    assert failures == ["obama/obama_0004.jpg", "no_face"]
    assert figures["template_version"] in contract
    assert figures["calibration"] in contract
    assert repeated == 0
    assert complaints == []


@pytest.mark.slow
def test_a_gallery_and_no_pictures(cli: CommandLine, people: Path, samples: Path, tmp_path: Path) -> None:
    """Obama and Biden are enrolled and searched for, Collins is a stranger."""
    for name in ("obama", "biden"):
        (tmp_path / "gallery" / name).mkdir(parents=True)
        shutil.copy(people / name / f"{name}_0001.jpg", tmp_path / "gallery" / name)
    (tmp_path / "probes" / "obama").mkdir(parents=True)
    for number in ("0002", "0003", "0004"):
        shutil.copy(people / "obama" / f"obama_{number}.jpg", tmp_path / "probes" / "obama")
    shutil.copytree(people / "collins", tmp_path / "probes" / "collins")
    folders = ["--gallery", tmp_path / "gallery", "--probes", tmp_path / "probes", "--report", tmp_path / "report"]
    figures = cli.json("evaluate", *folders, "--resamples", 20, "--no-pictures")
    assert figures["rank_1"] == pytest.approx(2 / 3)
    assert figures["at_threshold"]["fnir"] == pytest.approx(1 / 3)
    assert figures["at_threshold"]["fpir"] == 0.0
    assert figures["searches"] == {"mated": 3, "non_mated": 1}
    assert figures["failures"] == {"probes/obama/obama_0004.jpg": "no_face"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "data:image" not in page
    assert "Cumulative match characteristic" in page


@pytest.mark.slow
def test_all_pairs_of_a_folder(cli: CommandLine, people: Path) -> None:
    figures = cli.json("evaluate", "--folder", people, "--resamples", 20)
    assert (figures["pairs"], figures["mated"], figures["non_mated"], figures["subjects"]) == (15, 6, 9, 3)
    assert figures["at_threshold"]["fnmr"] == 0.5
    assert figures["at_threshold"]["fmr"] == 0.0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "give one of --pairs (with --images), --folder and --gallery [invalid_request]"),
        (["--folder", ".", "--gallery", "."], "give one of"),
        (["--folder", ".", "--images", "."], "--pairs and --images go together"),
        (["--folder", ".", "--probes", "."], "--probes are searched for in a --gallery"),
        (["--gallery", ".", "--probes", "."], "the probes are the gallery itself"),
        (["--folder", ".", "--group-by", "sex"], "--group-by names columns of --groups"),
    ],
)
def test_options_that_contradict_each_other(cli: CommandLine, options: list[str], complaint: str) -> None:
    assert complaint in cli.refusal("evaluate", *options)
