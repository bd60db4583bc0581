"""The report page in a real browser: on a phone, in the dark, on paper, by keyboard, and by axe's rules."""

import io
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from saved_reports import resnet_plan

import capacity as cap

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH (Debian's package chromium)"),
]
# Axe leaves text in an SVG alone: the colours of letters and of what is behind them, by the page's own reckoning.
CONTRAST = """
() => {
    const channels = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = (color) => channels(color).map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll("svg text")].map((text) => {
        const ink = light(getComputedStyle(text).fill);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    });
}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    cap.report(resnet_plan(folder / "plan.json"), folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(params=[(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")], ids=str)
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked: list[str] = []
    context.on("request", lambda one: asked.append(one.url))
    found = context.new_page()
    found.goto(address)
    yield found
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_nothing_reaches_beyond_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    beyond = page.evaluate(
        "[...document.querySelectorAll('svg, figure, p, h1, h2, dl, pre, .scroll, .bar')]"
        ".filter((one) => one.getBoundingClientRect().right > window.innerWidth).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert beyond == []


def test_the_paper_is_light_or_dark_as_asked(page: Any) -> None:
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    chart = page.evaluate("getComputedStyle(document.querySelector('svg path')).fill")
    assert paper == chart == ("rgb(13, 17, 23)" if is_dark else "rgb(255, 255, 255)")


def test_axe_finds_nothing(page: Any) -> None:
    from axe_core_python.sync_playwright import Axe

    found = Axe().run(page)
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []
    assert len(found["passes"]) > 30


def test_letters_in_charts_stand_out(page: Any) -> None:
    ratios = page.evaluate(CONTRAST)
    assert len(ratios) > 50
    assert min(ratios) >= 4.5


def test_the_keyboard_reaches_all_that_scrolls(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))
    wanted = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map((one) => one.getAttribute('aria-label'))"
    )
    assert len(wanted) == 6
    assert set(wanted) <= reached


def test_it_prints_on_two_sheets(browser: Any, address: str) -> None:
    from pypdf import PdfReader

    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    printed = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True)))
    assert len(printed.pages) == 2
    assert "P99" in printed.pages[0].extract_text()
    assert "Commands to repeat" in printed.pages[1].extract_text()
