"""The page of a server that asks for API keys, in a real Chromium."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from facesvc.core.access import Role
from tests.e2e.test_page import ANSWER_MS, browser, choose, pytestmark  # noqa: F401  the browser, and its marks
from tests.support.keyed import Keyed, serve_keyed


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Iterator[Keyed]:
    with serve_keyed(tmp_path_factory.mktemp("login"), default_packs) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:  # noqa: F811
    made = browser.new_context()
    made.set_default_timeout(ANSWER_MS)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, keyed: Keyed) -> Iterator[Page]:
    """The page that asks who one is. Afterwards: nothing it did may have broken its content policy or failed."""
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.goto(keyed.url)
    expect(opened.get_by_role("heading", name="Who are you?")).to_be_visible()
    yield opened
    assert [text for text in complaints if "server responded with a status of 401" not in text] == []


def log_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_an_administrator_sees_everything(page: Page, keyed: Keyed, samples: Path) -> None:
    issued = keyed.issue(Role.ADMINISTER)
    log_in(page, issued.text)
    page.locator("body[data-ready]").wait_for()
    expect(page.locator("#caller")).to_have_text(f"Key {issued.key.id} (administer)")
    expect(page.locator("nav a:visible")).to_have_text(["Compare", "Identify", "Enrol"])
    expect(page.locator("#development")).to_be_hidden()
    choose(page, "#probe input", samples / "people" / "obama" / "obama.jpg")
    choose(page, "#reference input", samples / "people" / "obama" / "obama2.jpg")
    expect(page.locator("#verdict h2")).to_have_text("Same person", timeout=ANSWER_MS)


def test_a_key_sees_what_it_may_do(page: Page, keyed: Keyed) -> None:
    log_in(page, keyed.issue(Role.ENROL, galleries=frozenset({"default"})).text)
    page.locator("body[data-ready]").wait_for()
    expect(page.locator("nav a:visible")).to_have_text(["Enrol"])
    expect(page.get_by_role("heading", name="Enrol a person")).to_be_visible()
    expect(page.locator("#compare")).to_be_hidden()
    expect(page.locator("#new-gallery")).to_be_hidden()
    expect(page.locator("#caller")).to_contain_text("(enrol, galleries: default)")
    expect(page.locator("#enrol-gallery option")).to_have_text(["default (0 people)"])


def test_a_wrong_key_is_refused_and_a_right_one_taken_after_it(page: Page, keyed: Keyed) -> None:
    log_in(page, "facesvc_000000000000_" + "A" * 43)
    expect(page.locator("#sign-in-problem")).to_have_text("the API key is not valid: unknown, expired or revoked")
    log_in(page, keyed.issue(Role.VERIFY).text)
    page.locator("body[data-ready]").wait_for()
    expect(page.locator("nav a:visible")).to_have_text(["Compare"])


def test_the_key_stays_in_the_tab_and_goes_at_log_out(page: Page, context: BrowserContext, keyed: Keyed) -> None:
    text = keyed.issue(Role.VERIFY).text
    log_in(page, text)
    page.locator("body[data-ready]").wait_for()
    page.reload()
    page.locator("body[data-ready]").wait_for()
    assert text not in page.url
    assert context.cookies() == []
    assert page.evaluate("Object.values(localStorage)") == []
    other = context.new_page()
    other.goto(keyed.url)
    expect(other.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    assert page.evaluate("Object.values(sessionStorage)") == []
    expect(page).to_have_url(re.compile(re.escape(keyed.url)))
