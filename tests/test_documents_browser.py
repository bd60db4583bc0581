"""The documents in a browser: what the copy button takes, and whether outputs fit the page."""

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from readme import ROOT, build_documents, examples

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH (Debian's package chromium)"),
]
PAGES = ("index", "tutorial", "how-to/plan-a-fleet", "how-to/size-a-language-model", "how-to/autoscale")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing: a test's output is its own."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    done = build_documents(folder)
    assert done.returncode == 0, done.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser: Any, address: str, name: str, width: int) -> Any:
    context = browser.new_context(viewport={"width": width, "height": 1000})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{address}/{name}.html")
    return page


@pytest.mark.parametrize("name", PAGES)
def test_the_button_copies_the_command_alone(browser: Any, address: str, name: str) -> None:
    commands = [command for command, _ in examples(ROOT / "docs" / f"{name}.md")]
    page = opened(browser, address, name, 1280)
    blocks = page.locator("pre.command")
    assert blocks.count() == len(commands) > 0
    for number, command in enumerate(commands):
        blocks.nth(number).locator("button[data-md-type=copy]").click()
        page.locator(".md-dialog--active").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == command
        page.evaluate("navigator.clipboard.writeText('')")
    assert page.locator("pre.output button").count() == 0
    page.context.close()


@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_outputs_fit_a_laptop_and_scroll_by_themselves_on_a_phone(
    browser: Any, address: str, name: str, width: int
) -> None:
    page = opened(browser, address, name, width)
    too_wide = "found => found.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)"
    assert page.locator("pre.command > code").evaluate_all(too_wide) == []
    if width == 1280:
        assert page.locator("pre.output > code").evaluate_all(too_wide) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()
