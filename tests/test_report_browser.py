"""The report page in a real browser: on a phone, in the dark, on paper, by keyboard, and by axe's rules."""

import io
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from saved_reports import engine_plan, resnet_plan

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


@pytest.fixture(scope="module", params=[resnet_plan, engine_plan], ids=["batches", "engines"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    cap.report(request.param(folder / "plan.json"), folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(
    params=[(375, "light"), (420, "light"), (420, "dark"), (1280, "light"), (1280, "dark")], ids=str
)
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked: list[str] = []
    context.on("request", lambda one: asked.append(one.url))
    wrong: list[str] = []
    found = context.new_page()
    found.on("pageerror", lambda one: wrong.append(str(one)))
    found.on("console", lambda one: wrong.append(one.text))
    found.goto(address)
    yield found
    assert wrong == []
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
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))
    wanted = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map((one) => one.getAttribute('aria-label'))"
    )
    assert len(wanted) >= 5
    assert set(wanted) <= reached


POINT = """
() => ({
    found: document.getElementById("what-if-found").textContent,
    price: document.getElementById("what-if-price").textContent,
    verdict: document.getElementById("what-if-verdict").textContent,
    framed: [...document.querySelectorAll(".what-if td.chosen")].map((one) => one.textContent),
})
"""


def grid_of(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.locator("#what-if-grid").text_content())
    return found


def expected(grid: dict[str, Any], places: dict[str, int]) -> dict[str, Any]:
    """What the panel must show of a point, by the rule that the page states."""
    number, (*axes, limit) = 0, grid["axes"]
    for axis in axes:
        number = number * len(axis["texts"]) + places[axis["name"]]
    cell, price = grid["cells"][number], grid["prices"][places["replicas"]]
    is_told = not isinstance(cell, str)
    verdict = ""
    if is_told:
        place = places[limit["name"]]
        name = "met" if place >= cell[3] else "missed" if place < cell[2] else "inconclusive"
        verdict = f"{grid['verdicts'][name]['sign']} {grid['verdicts'][name]['text']}"
    short = f"{verdict[:1]} {cell[0]}" if is_told else cell
    framed = [short] if places["replicas"] in grid["rows"] else []
    return {"found": cell[1] if is_told else cell, "price": price, "verdict": verdict, "framed": framed}


def move(page: Any, name: str, place: int) -> None:
    """Move a slider as a hand does, which the script hears as `input`."""
    page.locator(f"#what-if-{name}").fill(str(place))


def test_sliders_move_the_numbers_to_those_that_were_simulated(page: Any) -> None:
    grid = grid_of(page)
    own = {axis["name"]: axis["own"] for axis in grid["axes"]}
    assert page.evaluate(POINT) == expected(grid, own)
    seen = set()
    for axis in grid["axes"]:
        for place in range(len(axis["texts"])):
            if len(axis["texts"]) == 1:
                continue
            move(page, axis["name"], place)
            shown = page.evaluate(POINT)
            assert shown == expected(grid, own | {axis["name"]: place}), (axis["name"], place)
            assert page.locator(f"#what-if-{axis['name']}-now").text_content() == axis["texts"][place]
            slider = page.locator(f"#what-if-{axis['name']}")
            assert slider.get_attribute("aria-valuetext") == axis["texts"][place]
            seen.add(shown["verdict"])
        if len(axis["texts"]) > 1:
            move(page, axis["name"], axis["own"])
    assert {"✓ met", "✕ missed", ""} <= seen
    assert page.evaluate(POINT) == expected(grid, own)


def test_all_sliders_move_together_and_back(page: Any) -> None:
    grid = grid_of(page)
    moved = {axis["name"]: (axis["own"] + 1) % len(axis["texts"]) for axis in grid["axes"]}
    for axis in grid["axes"]:
        if len(axis["texts"]) > 1:
            move(page, axis["name"], moved[axis["name"]])
    assert page.evaluate(POINT) == expected(grid, moved)
    page.get_by_role("button", name="Back to the plan").click()
    assert page.evaluate(POINT) == expected(grid, {axis["name"]: axis["own"] for axis in grid["axes"]})


def test_the_keyboard_moves_a_slider(page: Any) -> None:
    grid = grid_of(page)
    (replicas,) = [axis for axis in grid["axes"] if axis["name"] == "replicas"]
    slider = page.get_by_label("Replicas", exact=True)
    slider.focus()
    page.keyboard.press("ArrowRight")
    place = replicas["own"] + 1
    own = {axis["name"]: axis["own"] for axis in grid["axes"]}
    assert page.evaluate(POINT) == expected(grid, own | {"replicas": place})
    assert page.locator("#what-if-replicas-now").text_content() == replicas["texts"][place]


def test_axe_finds_nothing_where_the_objective_is_missed(page: Any) -> None:
    from axe_core_python.sync_playwright import Axe

    move(page, "limit", 0)
    assert page.evaluate(POINT)["verdict"] == "✕ missed"
    assert [one["id"] for one in Axe().run(page)["violations"]] == []


def test_without_script_the_plan_is_there_and_no_slider(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert not page.locator("#what-if-panel").is_visible()
    assert page.locator("#what-if-found").is_visible()
    assert page.locator(".what-if td.chosen").count() == 1
    assert page.locator(".what-if td.chosen").is_visible()
    context.close()


def test_no_other_script_runs(browser: Any, address: str) -> None:
    """The page allows its own by a hash."""
    page = browser.new_page()
    page.goto(address)
    page.evaluate(
        """() => {
            const other = document.createElement("script");
            other.textContent = "document.title = 'changed'";
            document.body.append(other);
        }"""
    )
    assert page.title() != "changed"


def test_it_prints_on_two_sheets(browser: Any, address: str) -> None:
    from pypdf import PdfReader

    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    move(page, "limit", 0)
    printed = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True)))
    assert len(printed.pages) == 2
    assert "P99" in printed.pages[0].extract_text()
    assert "Commands to repeat" in printed.pages[1].extract_text()
    told = " ".join(sheet.extract_text() for sheet in printed.pages)
    assert "Back to the plan" not in told
    assert "Limit of P99" not in told
    assert page.evaluate(POINT)["verdict"] == "✓ met"  # paper shows the plan, wherever the sliders were
    assert "P99 by rate and replicas" in told
