"""The app in a browser: a run with its pictures, stop, a mistake, a painted mask, and no request to the network."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from threestudio_rsd.app.commands import PAINTED
from threestudio_rsd.app.interface import EXAMPLES
from threestudio_rsd.files import data_path

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
    playwright.expect(state(panel)).to_have_value("Failed.", timeout=WAIT)
    playwright.expect(page.get_by_text("'no/such folder' does not exist").last).to_be_visible()


def test_stop_ends_a_run_early(page: Any) -> None:
    panel = open_tab(page, "Images", Number_of_particles="2", Steps="5000", Prior="bundled")
    panel.get_by_role("button", name="Run", exact=True).click()
    playwright.expect(state(panel)).to_have_value(re.compile(r"Starting, [3-9]|Step \d"), timeout=WAIT)
    panel.get_by_role("button", name="Stop", exact=True).click()
    playwright.expect(state(panel)).to_have_value(re.compile("Stopped"), timeout=WAIT)


def test_objects_are_optimized_and_offered_as_meshes(page: Any) -> None:
    panel = open_tab(page, "3D objects", Number_of_particles="2", Steps="2")
    panel.get_by_role("button", name="Run", exact=True).click()
    playwright.expect(state(panel)).to_have_value(re.compile("Finished in"), timeout=WAIT)
    assert panel.locator(".particles img").evaluate("image => image.naturalWidth") >= 2 * 64
    offered = panel.locator("a[download]").evaluate_all("links => links.map(link => link.download)")
    assert {"metrics.json", "parsed.yaml", "results.zip"} <= set(offered)


def test_an_uploaded_image_with_a_painted_mask_is_restored(page: Any, tmp_path: Path) -> None:
    panel = open_tab(page, "Inverse problems", Number_of_particles="2", Steps="3")
    panel.locator("input[type=file]").first.set_input_files(str(data_path(f"{EXAMPLES}/car.png")))
    panel.get_by_label("Measurement").click()
    page.get_by_role("option", name=PAINTED).click()
    canvas = panel.locator("canvas").first
    canvas.wait_for()
    page.wait_for_timeout(2000)  # the editor fits the image
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.5 * box["height"], steps=8)
    page.mouse.up()
    page.wait_for_timeout(1000)
    panel.get_by_role("button", name="Run", exact=True).click()
    playwright.expect(state(panel)).to_have_value(re.compile("Finished in"), timeout=WAIT)
    assert panel.locator(".particles img").evaluate("image => image.naturalWidth") >= 2 * 64


def test_nothing_is_requested_from_the_network(page: Any, address: str) -> None:
    outside = [url for url in page.requested if not url.startswith((address, "data:", "blob:"))]
    assert outside == []
    assert page.problems == []
