"""The page, driven in a real Chromium: compare, identify, enrol, and what it does when something is wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.live import Live

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
    pytest.mark.xdist_group("browser"),
]
ANSWER_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, page_server: Live) -> Iterator[Page]:
    """The page, ready. Afterwards: nothing it did may have broken its content policy or failed."""
    context = browser.new_context()
    context.set_default_timeout(ANSWER_MS)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.goto(page_server.url)
    opened.locator("body[data-ready]").wait_for()
    yield opened
    context.close()
    # Chromium reports the answers that a test provokes; all other complaints are faults of the page
    assert [text for text in complaints if "server responded with a status of 422" not in text] == []


def choose(page: Page, place: str, *paths: Path) -> None:
    page.locator(f"{place}").set_input_files([str(path) for path in paths])


def compare(page: Page, probe: Path, reference: Path) -> None:
    choose(page, "#probe input", probe)
    choose(page, "#reference input", reference)


@pytest.fixture
def people(samples: Path) -> Path:
    return samples / "people"


def test_one_person(page: Page, people: Path) -> None:
    compare(page, people / "obama" / "obama.jpg", people / "obama" / "obama2.jpg")
    verdict = page.locator("#verdict")
    expect(verdict.locator("h2")).to_have_text("Same person", timeout=ANSWER_MS)
    distance = float(verdict.locator("dd").first.inner_text())
    assert distance == pytest.approx(0.424, abs=0.01)
    scale = page.get_by_role("img", name=f"Distance {distance:.3f} on a scale from 0 to 4, threshold 1.10")
    expect(scale).to_be_visible()
    track = verdict.locator(".track").bounding_box()
    dot = verdict.locator(".dot").bounding_box()
    assert track is not None
    assert dot is not None
    centre = (dot["x"] + dot["width"] / 2 - track["x"]) / track["width"]
    assert centre == pytest.approx(distance / 4, abs=0.01)


def test_the_face_is_framed_where_it_is(page: Page, people: Path) -> None:
    compare(page, people / "obama" / "obama.jpg", people / "biden" / "biden.jpg")
    expect(page.locator("#verdict h2")).to_have_text("Different people", timeout=ANSWER_MS)
    box = page.locator("#probe rect.box")
    assert 340 < float(box.get_attribute("x") or 0) < 400  # px of the photograph
    assert page.locator("#probe circle").count() == 5
    expect(page.locator("#probe .notes")).to_have_text("Good enough to judge.")


def test_a_photograph_without_a_face(page: Page, people: Path, samples: Path) -> None:
    compare(page, samples / "no_face.jpg", people / "biden" / "biden.jpg")
    problem = page.locator("#verdict .problem")
    expect(problem.locator("h2")).to_have_text("Probe: No face found", timeout=ANSWER_MS)
    expect(problem.locator(".hint")).to_contain_text("Use a photograph in which the face is visible")
    expect(page.locator("#probe .notes")).to_have_text("No face found")


def test_start_over_forgets_the_photographs(page: Page, people: Path) -> None:
    compare(page, people / "biden" / "biden.jpg", people / "biden" / "biden.jpg")
    expect(page.locator("#verdict h2")).to_have_text("Same person", timeout=ANSWER_MS)
    page.get_by_role("button", name="Start over").click()
    expect(page.locator("#verdict")).to_be_empty()
    expect(page.locator("#probe img")).to_be_hidden()
    expect(page.locator("#probe rect")).to_have_count(0)


def test_a_group_is_named_and_the_stranger_is_not(page: Page, samples: Path) -> None:
    page.get_by_role("link", name="Identify").click()
    choose(page, "#crowd input", samples / "group.jpg")
    cards = page.locator("#people .face h2")
    expect(cards).to_have_text(["1biden", "2obama", "3Unknown"], timeout=ANSWER_MS)
    expect(page.locator("#crowd text")).to_have_text(["1 biden", "2 obama", "3 Unknown"])
    expect(page.locator("#crowd .notes")).to_contain_text("3 faces in")
    nearest = page.locator("#people .face").nth(1).locator("li").first
    expect(nearest.locator(".who")).to_have_text("obama")
    assert float(nearest.locator(".distance").inner_text()) < 0.1


def test_enrolment_makes_a_stranger_known(page: Page, samples: Path) -> None:
    page.get_by_role("link", name="Enrol").click()
    page.get_by_text("Make a new gallery").click()
    page.get_by_label("Name", exact=True).fill("crew")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#enrol-gallery")).to_have_value("crew")
    page.get_by_label("Person's id").fill("collins")
    choose(page, "#photographs", samples / "astronaut.png", samples / "no_face.jpg")
    page.get_by_role("button", name="Enrol", exact=True).click()
    expect(page.locator("#outcomes h2")).to_have_text("collins: 1 of 2 photographs enrolled", timeout=ANSWER_MS)
    expect(page.locator("#outcomes strong")).to_have_text(["Enrolled", "Refused: no face"])
    page.get_by_role("link", name="Identify").click()
    page.locator("#identify-gallery").select_option("crew")
    choose(page, "#crowd input", samples / "astronaut.png")
    expect(page.locator("#people .face h2")).to_have_text(["1collins"], timeout=ANSWER_MS)


def test_the_keyboard_reaches_every_task(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    for name in ("facesvc", "Compare", "Identify"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Who is in the photograph?")).to_be_visible()
    expect(page.get_by_role("link", name="Identify")).to_have_attribute("aria-current", "page")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(browser: Browser, page_server: Live, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1 for what the page's palette writes on its grounds."""
    context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(page_server.url)
    inks, grounds = ("ink", "soft", "accent", "good", "bad", "warn"), ("ground", "surface")
    ratios = {(ink, ground): page.evaluate(CONTRAST, [ink, ground]) for ink in inks for ground in grounds}
    ratios["on-accent", "accent"] = page.evaluate(CONTRAST, ["on-accent", "accent"])
    context.close()
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


CONTRAST = """names => {
  const probe = document.body.appendChild(document.createElement("i"));
  const luminance = name => {
    probe.style.color = `var(--${name})`;
    const linear = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3)
      .map(value => value / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * linear[0] + .7152 * linear[1] + .0722 * linear[2];
  };
  const [high, low] = names.map(luminance).sort((a, b) => b - a);
  probe.remove();
  return (high + .05) / (low + .05);
}"""
