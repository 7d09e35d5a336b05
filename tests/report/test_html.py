"""The page holds everything within itself and shows every run."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from threestudio_rsd.errors import UserError
from threestudio_rsd.report.html import metrics_rows, render_page, write_page
from threestudio_rsd.runs.trial import Trial, config_differences, flatten, read_curves, read_trial, versions

LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}  # attributes that can cause a request
VOID = {"meta", "link", "img", "br", "line"}


class Page(HTMLParser):
    """Collects tags and attributes, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def make_trial(folder: Path, label: str, gamma: float, diversity: float = 0.5) -> Path:
    """A trial folder as particle-image-system leaves it."""
    save, logs = folder / label / "save", folder / label / "csv_logs" / "version_0"
    for path in (save, logs, folder / label / "configs"):
        path.mkdir(parents=True)
    Image.new("RGB", (8, 4), (int(gamma) * 10, 0, 0)).save(save / "it20-test.png")
    Image.new("RGB", (8, 4)).save(save / "it9-test.png")
    metrics = {"prompt": 'a <b>"mushroom"</b>', "n_particles": 8, "diversity": {"dino": diversity, "clip": 0.25}}
    metrics |= {"colors": 4, "classes_correct": None, "seconds_per_step": 0.3}
    (save / "metrics.json").write_text(json.dumps(metrics))
    (logs / "metrics.csv").write_text(
        "epoch,step,train/diversity_clip,train/diversity_dino,train/loss\n0,9,,,1.0\n0,9,0.1,0.2,\n0,19,0.25,0.5,\n"
    )
    config = f"system:\n  guidance: {{gamma: {gamma}, features: dino}}\ntag: {label}\nseed: 0\n"
    (folder / label / "configs" / "parsed.yaml").write_text(config)
    return folder / label


@pytest.fixture
def trials(tmp_path) -> list[Trial]:
    runs = {"without": 0.0, "with": 20.0}
    return [read_trial(make_trial(tmp_path, label, gamma), label) for label, gamma in runs.items()]


def test_nothing_is_requested_from_outside(trials):
    text = render_page("A page", "rsd demo", trials)
    page = Page(text)
    for tag, attributes in page.tags:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith(("data:", "#")), f"{tag} {name}={attributes[name][:60]}"
    assert not page.all("script")
    assert not page.all("iframe")
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_shows_grids_curves_figures_and_config(trials):
    page = Page(render_page("A page", "rsd demo --n 8", trials, note="A note."))
    images = page.all("img")
    assert len(images) == 2
    assert images[0]["src"] != images[1]["src"]
    assert all(image["alt"] for image in images)
    assert len(page.all("svg")) == 2  # dino and clip
    assert len(page.all("polyline")) == 4
    for shown in ("A note.", "rsd demo --n 8", "diversity, dino", "0.500", "system.guidance.gamma", "20.0", "Python"):
        assert shown in page.text
    assert "system.guidance.features" not in page.text  # the same in both
    (description,) = [svg["aria-label"] for svg in page.all("svg") if "dino" in svg["aria-label"]]
    assert "without ends at 0.50" in description


def test_a_run_without_curve_is_a_level_line(trials):
    trials[1].curves = {}
    (dino, _) = list(Page(render_page("A page", "rsd", trials)).all("polyline"))[1::2]
    heights = [point.split(",")[1] for point in dino["points"].split()]
    assert len(heights) == 2
    assert heights[0] == heights[1]


def test_scrolling_parts_are_reached_by_keyboard(trials):
    page = Page(render_page("A page", "rsd demo", trials))
    scrolling = [attributes for tag, attributes in page.tags if attributes.get("class") in ("wide", "command")]
    assert scrolling
    assert all(attributes.get("tabindex") == "0" for attributes in scrolling)
    assert any(attributes.get("name") == "viewport" for attributes in page.all("meta"))
    assert page.all("html") == [{"lang": "en"}]


def test_text_of_the_user_is_text(trials):
    page = Page(render_page("<script>alert(1)</script>", "rsd demo --prompt '<img src=x>'", trials))
    assert not page.all("script")
    assert len(page.all("img")) == 2
    assert "<script>alert(1)</script>" in page.text


@pytest.mark.parametrize("value", [float("nan"), 0.0, -0.01, 1.4, 1e-9])
def test_any_figure_can_be_drawn(tmp_path, value):
    trial = Trial("one", read_trial(make_trial(tmp_path, "one", 1.0), "").grid, {"diversity": {"dino": value}})
    trial.curves = {"dino": [(0, value)], "clip": []}
    page = Page(render_page("A page", "rsd demo", [trial]))
    assert not any(
        "nan" in str(attributes) for tag, attributes in page.tags if tag in ("svg", "polyline", "line", "text")
    )


def test_without_curves_or_differences(tmp_path):
    grid = read_trial(make_trial(tmp_path, "one", 1.0), "").grid
    page = Page(render_page("A page", "rsd demo", [Trial("one", grid, {})]))
    assert "Nothing was logged" in page.text
    assert "Nothing." in page.text


def test_page_is_written_whole(trials, tmp_path):
    path = write_page(tmp_path / "page.html", "Ein Pilz \u2013 \u30ad\u30ce\u30b3", "rsd demo", trials)
    assert "\u30ad\u30ce\u30b3" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.glob("page*")] == ["page.html"]


def test_last_grid_and_curves_are_read(trials):
    assert trials[0].grid.name == "it20-test.png"
    assert trials[0].curves == {"clip": [(9, 0.1), (19, 0.25)], "dino": [(9, 0.2), (19, 0.5)]}


def test_a_resumed_run_continues_its_curves(tmp_path):
    folder = make_trial(tmp_path, "one", 1.0)
    second = folder / "csv_logs" / "version_1"
    second.mkdir()
    (second / "metrics.csv").write_text("step,train/diversity_dino\n19,0.6\n29,0.7\n")
    assert read_curves(folder / "csv_logs")["dino"] == [(9, 0.2), (19, 0.6), (29, 0.7)]


def test_unfinished_run_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no finished run"):
        read_trial(tmp_path, "none")


def test_config_differences_by_dotted_key(trials):
    assert config_differences(trials) == {"system.guidance.gamma": [0.0, 20.0], "tag": ["without", "with"]}
    sampling = Trial("sampling", Path(), {}, config={"system_type": "ancestral-sampling-system", "seed": 1})
    differences = config_differences([*trials, sampling])
    assert differences["system_type"] == [None, None, "ancestral-sampling-system"]
    assert "seed" not in differences
    assert "system.guidance.gamma" in differences
    assert flatten({"a": {"b": [1, 2]}, "c": None}) == {"a.b": [1, 2], "c": None}


def test_missing_figures_are_dashes():
    headings, rows = metrics_rows([Trial("one", Path(), {"diversity": {"dino": 0.5}}), Trial("two", Path(), {})])
    assert headings[:2] == ["run", "diversity, dino"]
    assert rows == [["one", "0.500", "-", "-", "-"], ["two", "-", "-", "-", "-"]]


def test_versions_name_what_matters():
    assert {"Python", "torch", "diffusers", "transformers"} <= set(versions())
