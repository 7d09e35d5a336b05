"""The app in a browser: a run with its pictures, stop, a mistake, a painted mask, and no request to the network."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium")]
WAIT = 300_000  # milliseconds, on a machine with other work


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    output = tmp_path_factory.mktemp("app")
    command = [sys.executable, "-m", "threestudio_rsd.cli", "app", "--port", "0", "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found is not None
    yield found.group()
    process.send_signal(signal.SIGINT)
    process.wait(60)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(WAIT)
        page.requested, page.problems = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda line: page.problems.append(line.text) if line.type == "error" else None)
        page.goto(address)
        yield page
        browser.close()


def open_tab(page: Any, name: str, **values: str) -> Any:
    """Fill the form of a tab and press its button; returns the visible panel."""
    page.get_by_role("tab", name=name).click()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    for label, text in values.items():
        panel.get_by_label(label.replace("_", " "), exact=False).first.fill(text)
    return panel


def state(panel: Any) -> Any:
    return panel.get_by_label("State")


def test_a_run_shows_its_particles_and_offers_its_files(page: Any) -> None:
    panel = open_tab(page, "Images", Number_of_particles="2", Steps="4", Repulsion_gamma="0")
    panel.get_by_role("button", name="Run", exact=True).click()
    playwright.expect(state(panel)).to_have_value(re.compile("Finished in"), timeout=WAIT)
    assert panel.locator(".particles img").evaluate("image => image.naturalWidth") == 2 * 64 + 2
    offered = panel.locator("a[download]").evaluate_all("links => links.map(link => link.download)")
    assert {"it4-test.png", "metrics.json", "parsed.yaml", "results.zip"} <= set(offered)
    playwright.expect(panel.get_by_text("rsd launch").first).to_be_visible()


def test_a_mistake_is_shown_as_a_sentence(page: Any) -> None:
    panel = open_tab(page, "Images", Number_of_particles="0")
    panel.get_by_role("button", name="Run", exact=True).click()
    playwright.expect(page.get_by_text("number of particles=0 is impossible").first).to_be_visible(timeout=WAIT)


def test_a_mistake_of_the_run_is_shown_as_its_sentence(page: Any) -> None:
    panel = open_tab(page, "Images", Number_of_particles="2", Prior="no/such folder")
    panel.get_by_role("button", name="Run", exact=True).click()
    playwright.expect(page.get_by_text("pretrained_model_name_or_path=").last).to_be_visible(timeout=WAIT)


def test_stop_ends_a_run_early(page: Any) -> None:
    panel = open_tab(page, "Images", Number_of_particles="2", Steps="5000", Prior="bundled")
    panel.get_by_role("button", name="Run", exact=True).click()
    playwright.expect(state(panel)).to_have_value(re.compile(r"Starting, [3-9]|Step \d"), timeout=WAIT)
    panel.get_by_role("button", name="Stop", exact=True).click()
    playwright.expect(state(panel)).to_have_value(re.compile("Stopped"), timeout=WAIT)


def test_nothing_is_requested_from_the_network(page: Any, address: str) -> None:
    outside = [url for url in page.requested if not url.startswith((address, "data:", "blob:"))]
    assert outside == []
    assert page.problems == []
