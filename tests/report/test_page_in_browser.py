"""The page of rsd report in a browser: what a click, a key and a narrow screen do."""

import json
import shutil

import pytest
from threestudio_rsd.cli.main import run_command

from tests.report.report_folders import COLORS, add_turntable, make_reproduction, make_sweep, make_trial

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
# Label and middle pixel of every image that can be seen.
SEEN = """async () => Promise.all([...document.querySelectorAll(".case img")].filter(i => i.offsetParent).map(async i =>
{   await i.decode();
    const canvas = document.createElement("canvas"); canvas.width = i.naturalWidth; canvas.height = i.naturalHeight;
    const context = canvas.getContext("2d"); context.drawImage(i, 0, 0);
    return [i.alt, [...context.getImageData(i.naturalWidth >> 1, i.naturalHeight >> 1, 1, 1).data].slice(0, 3)];
}))"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens the page of a folder; at the end nothing but the page may have been asked for, and no error printed."""
    contexts, asked, printed = [], [], []

    def open_it(folder, width=1300, **options):
        if not (folder / "report.html").exists():
            assert run_command(["report", str(folder)]) == 0
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.route("**/*", lambda route: (asked.append(route.request.url), route.continue_()))
        page.on("console", lambda message: printed.append(message.text))
        page.on("pageerror", lambda error: printed.append(str(error)))
        page.goto((folder / "report.html").as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not printed
    assert [url for url in asked if not url.startswith("data:") and not url.endswith("/report.html")] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("sweep"))


def colors(gammas, prompt, seed):
    return [[f"gamma {gamma}, {prompt}, seed {seed}", list(COLORS[gamma, prompt, seed])] for gamma in gammas]


def checked(page):
    return page.locator("[role=radio][aria-checked=true]").all_inner_texts()


def test_a_click_on_a_gamma_shows_its_grid(sweep, open_page):
    page = open_page(sweep)
    assert page.evaluate(SEEN) == colors((0, 10), "a car", 0), "all are side by side at first"
    page.get_by_role("radio", name="gamma 10").click()
    assert page.evaluate(SEEN) == colors((10,), "a car", 0)
    assert checked(page) == ["gamma 10"]
    page.get_by_role("radio", name="All").click()
    assert page.evaluate(SEEN) == colors((0, 10), "a car", 0)


def test_prompt_and_seed_can_be_chosen(sweep, open_page):
    page = open_page(sweep)
    page.locator("#prompt").select_option("a <mushroom>")
    page.locator("#seed").select_option("1")
    page.get_by_role("radio", name="gamma 0").click()
    assert page.evaluate(SEEN) == colors((0,), "a <mushroom>", 1)


def test_arrow_keys_do_what_clicks_do(sweep, open_page):
    page = open_page(sweep)
    page.get_by_role("radio", name="All").focus()
    for key, gammas, name in (
        ("ArrowRight", (0,), "gamma 0"),
        ("ArrowDown", (10,), "gamma 10"),
        ("ArrowLeft", (0,), "gamma 0"),
        ("End", (10,), "gamma 10"),
        ("ArrowRight", (0, 10), "All"),
    ):
        page.keyboard.press(key)
        assert page.evaluate(SEEN) == colors(gammas, "a car", 0)
        assert checked(page) == [name] == [page.evaluate("document.activeElement.innerText")]


def test_tab_reaches_one_button_of_the_group_and_shows_where_it_is(sweep, open_page):
    page = open_page(sweep)
    page.locator("#seed").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "All"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "zoom"


def test_zoom_moves_with_arrow_keys_and_closes_with_escape(sweep, open_page):
    page = open_page(sweep)
    page.get_by_role("button", name="enlarge: gamma 0").first.click()
    dialog, image = page.locator("dialog"), page.locator("dialog img")
    assert dialog.is_visible()
    assert image.get_attribute("alt") == "gamma 0, a car, seed 0"
    assert image.bounding_box()["width"] > 1000
    assert image.evaluate("i => getComputedStyle(i).imageRendering") == "pixelated"
    page.keyboard.press("ArrowRight")
    assert image.get_attribute("alt") == "gamma 10, a car, seed 0"
    page.keyboard.press("ArrowRight")
    assert image.get_attribute("alt") == "gamma 0, a car, seed 0"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_curves_can_be_chosen(tmp_path, open_page):
    folder = tmp_path / "fig3"
    folder.mkdir()
    record = make_reproduction(folder) / "reproduction.json"
    content = json.loads(record.read_text())
    content["settings"][2]["curve"] = "other"  # a curve of one point needs no button of its own
    record.write_text(json.dumps(content))
    page = open_page(folder)
    assert page.get_by_role("radio", name=": all").all_inner_texts() == ["VSD: all"]
    page.get_by_role("radio", name="VSD: all").click()
    assert [alt for alt, _ in page.evaluate(SEEN)] == ["VSD, gamma 0, a car, seed 0", "VSD, gamma 10, a car, seed 0"]


@pytest.mark.slow
def test_a_phone_need_not_scroll_sideways(sweep, tmp_path, open_page):
    folder = tmp_path / "fig3"
    folder.mkdir()
    for each in (sweep, make_reproduction(folder)):
        page = open_page(each, width=360)
        assert len(page.evaluate(SEEN)) == 1, "one setting at a time"
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_light_and_dark(sweep, open_page):
    backgrounds = []
    for scheme in ("light", "dark"):
        page = open_page(sweep, color_scheme=scheme)
        backgrounds.append(page.screenshot(clip={"x": 0, "y": 0, "width": 4, "height": 4}))
    assert backgrounds[0] != backgrounds[1]


def test_without_script_everything_can_be_seen(sweep, browser):
    run_command(["report", str(sweep)])
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((sweep / "report.html").as_uri())
    assert all(image.is_visible() for image in page.locator(".case img").all())
    assert page.locator(".case img").count() == len(COLORS)
    assert not page.locator(".choosers").is_visible()
    context.close()


def test_turntable_of_a_run_in_3d(tmp_path, open_page):
    make_trial(tmp_path / "run", 10)
    add_turntable(tmp_path / "run")
    page = open_page(tmp_path / "run")
    video = page.locator("video")
    assert video.is_visible()
    for name in ("controls", "muted", "loop", "playsinline"):
        assert video.get_attribute(name) is not None
    assert video.evaluate("v => v.src").startswith("data:video/mp4")


def test_a_click_in_the_legend_hides_a_curve_and_shows_it_again(tmp_path, open_page):
    (tmp_path / "fig3").mkdir()
    page = open_page(make_reproduction(tmp_path / "fig3"))
    charted = page.locator(".charted").first
    entry = charted.get_by_role("button", name="VSD")
    marks = charted.locator("svg.chart circle")
    assert marks.count() > 0
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    assert not any(mark.is_visible() for mark in marks.all())
    assert charted.locator("svg.chart .mark:visible").count() > 0
    entry.press("Enter")
    assert all(mark.is_visible() for mark in marks.all())
