"""The sliders of a notebook in JupyterLab, moved in a real browser."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "02_utilization_curves.ipynb"
CHROMIUM = shutil.which("chromium")
TOKEN = "sliders"
STARTED_WITHIN_S, LOADED_WITHIN_S, RUN_WITHIN_S, STOPPED_WITHIN_S = 90.0, 90.0, 400.0, 20.0
# The redrawing itself takes less than 0.2 s (tests/test_notebooks.py); the rest is the way to the kernel and back,
# and what else the machine has to do.
SEEN_WITHIN_S = 3.0
# From the keypress, in the page, to the instant at which the picture's address is another one. [ms]
WATCH = """
() => {
    const image = document.querySelector("img.widget-image"), before = image.src;
    window.seenMs = null;
    document.addEventListener("keydown", () => {
        const begunMs = performance.now();
        const watch = () => {
            if (image.src !== before) window.seenMs = performance.now() - begunMs;
            else requestAnimationFrame(watch);
        };
        watch();
    }, {once: true, capture: true});
}
"""
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # so that cells out of view are there too
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH (Debian's package chromium)"),
]


def test_each_slider_moves_the_knee(tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    with lab(tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1200, "height": 1000})
            page.goto(f"{address}/doc/tree/{NOTEBOOK.name}?token={TOKEN}")
            page.add_locator_handler(
                page.get_by_role("button", name="Select Kernel"), lambda ask: ask.click()
            )
            ready = page.get_by_role("button", name="Python 3 (ipykernel) | Idle")
            expect(ready).to_be_visible(timeout=1e3 * LOADED_WITHIN_S)
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_text("Run All Cells", exact=True).click()
            told = page.locator("b.knee")
            expect(told).to_be_attached(timeout=1e3 * RUN_WITHIN_S)  # by the last cell

            knees, seen_s = [knee_percent(told.inner_text())], []
            sliders = page.locator(".widget-hslider")
            for slider, shown in enumerate(("8", "1.5", "20", "1.5 s")):
                sliders.nth(slider).scroll_into_view_if_needed()
                sliders.nth(slider).locator(".noUi-handle").focus()
                page.evaluate(WATCH)
                page.keyboard.press("ArrowRight")
                page.wait_for_function("() => window.seenMs !== null", timeout=1e4)
                expect(sliders.nth(slider)).to_contain_text(shown)
                seen_s.append(page.evaluate("window.seenMs") / 1e3)
                knees.append(knee_percent(told.inner_text()))

            before, more_servers, more_variable, faster, patient = knees
            assert before == pytest.approx(87.5, abs=0.2)
            assert more_servers == pytest.approx(93.6, abs=0.2)
            assert more_variable < more_servers < patient
            assert more_variable < faster < patient
            assert max(seen_s) < SEEN_WITHIN_S, seen_s
        finally:
            browser.close()


def knee_percent(text: str) -> float:
    found = re.search(r"knee (?:at|beyond) ([\d.]+)%", text)
    assert found, text
    return float(found[1])


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """JupyterLab on this machine alone, on a copy of the notebook without outputs; gone whatever happens."""
    served = folder / "served"
    served.mkdir()
    (served / NOTEBOOK.name).write_text(json.dumps(without_outputs(json.loads(NOTEBOOK.read_text()))))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"),
        *(f"--ServerApp.root_dir={served}", "--LabApp.extension_manager=readonly"),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env=own_environment(folder), stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/api/status?token={TOKEN}", server, folder / "log")
            yield address
        finally:
            stop(server)


def without_outputs(notebook: dict) -> dict:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook


def own_environment(folder: Path) -> dict[str, str]:
    """No settings of whoever runs this, and none left behind."""
    for name, setting in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting))
    places = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
    }
    return os.environ | {name: str(folder / place) for name, place in places.items()}


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    until_s = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < until_s and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5.0):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


def stop(server: subprocess.Popen) -> None:
    """Asked to go, with its kernels; then made to."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(STOPPED_WITHIN_S)
