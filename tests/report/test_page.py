"""rsd report writes one page that needs nothing else and shows every result."""

import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from threestudio_rsd.cli.main import USER_ERROR, run_command
from threestudio_rsd.cli.main import main as rsd
from threestudio_rsd.errors import UserError
from threestudio_rsd.report import write_report
from threestudio_rsd.report.gallery import encode

from tests.report.report_folders import (
    RESTORED,
    add_answers,
    add_sampling,
    add_turntable,
    make_reproduction,
    make_sweep,
    make_table,
    make_trial,
)

LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}  # attributes that can cause a request
VOID = {"meta", "link", "img", "br", "line", "circle", "path", "polyline", "polygon"}


def main(arguments: list[str]) -> int:
    return run_command(["report", *arguments])


class Page(HTMLParser):
    """Collects attributes and text, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def check_offline(text: str) -> None:
    """Tags nest, and nothing in a page can cause a request."""
    for _, attributes in Page(text).tags:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith(("data:", "#")), f"{name}={attributes[name][:60]}"
    assert not [part for part in ("http:", "https:", "@import", "url(", "<iframe") if part in text]


def report(folder) -> str:
    assert main([str(folder)]) == 0
    return (folder / "report.html").read_text()


def side_by_side(folder, runs, **texts) -> str:
    """Page of some trial folders by label."""
    write_report(runs, folder / "page.html", **texts)
    text = (folder / "page.html").read_text(encoding="utf-8")
    check_offline(text)
    return text


@pytest.fixture
def runs(tmp_path):
    """Two runs by label, as `rsd demo` reports them."""
    for label, gamma in (("without", 0), ("with", 20)):
        make_trial(tmp_path / label, gamma, (gamma * 10, 0, 0), prompt='a <b>"mushroom"</b>')
    return {label: tmp_path / label for label in ("without", "with")}


@pytest.fixture
def reproduction(tmp_path):
    folder = tmp_path / "fig3"
    folder.mkdir()
    return make_reproduction(folder)


@pytest.mark.parametrize("make", [make_sweep, make_reproduction, make_table])
def test_page_nests_and_asks_for_nothing(tmp_path, make):
    folder = tmp_path / "results"
    folder.mkdir()
    check_offline(report(make(folder)))


def test_texts_of_the_user_are_escaped(tmp_path):
    text = report(make_sweep(tmp_path, left_out=True))
    assert "<mushroom>" not in text
    assert "<memory>" not in text
    assert "a <mushroom>" in Page(text).text
    assert "out of <memory>" in Page(text).text


def test_numbers_stand_beside_those_of_the_paper(reproduction):
    text = report(reproduction)
    head = re.findall(r"<th scope=\"col\">(.*?)</th>", text[text.index('class="numbers"') :])
    place = head.index("diversity, DINO\u00a0↑")
    assert head[place + 1] == "in the paper"
    row = re.search(r'<tr><th scope="row">VSD, gamma 10</th>(.*?)</tr>', text[text.index('class="numbers"') :]).group(1)
    cells = re.findall("<td>(.*?)</td>", row)
    assert cells[place - 1] == "0.300<small>[0.280, 0.330]</small>"
    assert cells[place] == "0.17"
    assert "in the paper: aesthetic" in head


def test_what_is_missing_is_said(reproduction):
    text = Page(report(reproduction)).text
    assert "Missing: 1 result" in text
    assert "VSD, gamma 10, a car, seed 1: killed" in text


def test_the_network_that_took_no_part_comes_first(reproduction):
    text = report(reproduction)
    assert text.index("Diversity in CLIP, which took no part") < text.index("Diversity in DINO, which guided")


def test_page_of_one_run(tmp_path):
    make_trial(tmp_path / "run", 10)
    add_turntable(tmp_path / "run")
    text = report(tmp_path / "run")
    assert 'src="data:video/mp4;base64,' in text
    assert "Diversity against quality" not in text
    assert "What differs" not in text
    assert "rsd launch --train system.guidance.gamma=10" in Page(text).text


@pytest.mark.slow
def test_page_of_a_true_run(tmp_path):
    own = [f"exp_root_dir={tmp_path}", "name=runs", "tag=run", "use_timestamp=false"]
    short = [
        "trainer.max_steps=2",
        "system.particles.n_particles=2",
        "trainer.log_every_n_steps=1",
        "system.metrics_every=1",
    ]
    assert rsd(["launch", "--config", "configs/text2image/sds.yaml", "--train", *own, *short]) == 0
    text = Page(report(tmp_path / "runs" / "run")).text
    assert "2 particles each, 2 steps" in text
    assert "prior: bundled" in text
    assert "diversity, DINO" in text


@pytest.mark.slow
def test_hundreds_of_runs_take_little_room(tmp_path):
    runs = []
    noise = Image.effect_noise((262, 64), 60).convert("RGB")
    for seed in range(200):
        metrics = make_trial(tmp_path / "runs" / str(seed), 0, seed=seed)
        noise.save(tmp_path / "runs" / str(seed) / "save" / "it20-test.png")
        runs.append({"settings": {"seed": seed}, "state": "finished", "folder": f"runs/{seed}", "metrics": metrics})
    (tmp_path / "sweep.json").write_text(json.dumps({"command": "", "config": "sds.yaml", "runs": runs}))
    text = report(tmp_path)
    assert text.count("<img") == 201
    assert len(text) < 8_000_000


def test_output_and_mistakes(tmp_path, capsys):
    make_sweep(tmp_path / "sweep")
    assert rsd(["report", str(tmp_path / "sweep"), "--output", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").is_file()
    assert re.search(r"page.html \(\d+\.\d MB\)", capsys.readouterr().out)
    assert rsd(["report", str(tmp_path / "new")]) == USER_ERROR
    assert "accepted: a folder with reproduction.json" in capsys.readouterr().err
    with pytest.raises(UserError, match="a file, not a folder"):
        main([str(tmp_path / "sweep"), "--output", str(tmp_path)])


def test_separate_images_stand_in_a_row(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for index, file in enumerate(files):
        Image.new("RGB", (8, 8), (index * 100, 0, 0)).save(file)
    picture = encode(files, lossless=True)
    assert (picture.width, picture.height, picture.is_small) == (28, 8, True)


def test_runs_side_by_side_have_their_labels_grids_curves_numbers_and_config(tmp_path, runs):
    texts = {"title": "A page", "note": "A note.", "command": "rsd demo -n 8"}
    page = Page(side_by_side(tmp_path, runs, **texts))
    images = [image for image in page.all("img") if image["alt"]]
    assert [image["alt"] for image in images] == [f'{label}, a <b>"mushroom"</b>, seed 0' for label in runs]
    assert images[0]["src"] != images[1]["src"]
    assert [svg["aria-label"].partition(" over")[0] for svg in page.all("svg") if "over the steps" in str(svg)] == [
        "diversity, DINO",
        "loss sds",
    ]
    shown = (*texts.values(), "2 particles", "diversity, DINO", "0.200", "system.guidance.gamma", "20", "Python")
    assert not [text for text in shown if text not in page.text]
    differing = page.text[page.text.index("What differs") : page.text.index("Every config")]
    assert "system.guidance.features" not in differing, "the same in both"
    (description,) = [svg["aria-label"] for svg in page.all("svg") if "DINO over" in svg.get("aria-label", "")]
    assert "without ends at 0.19" in description


def test_order_of_runs_is_kept_and_no_curve_joins_them(tmp_path, runs):
    page = Page(side_by_side(tmp_path, {"b": runs["with"], "a": runs["without"]}))
    buttons = [each["data-setting"] for each in page.all("button") if each.get("role") == "radio"]
    assert buttons == ["all", "0", "1"]
    assert page.text.index("b") < page.text.index("a")


def test_default_output_of_runs_side_by_side_is_beside_them(tmp_path, runs):
    assert str(tmp_path / "report.html") in write_report(runs)
    assert (tmp_path / "report.html").is_file()


def test_run_that_logged_no_diversity_is_a_level_line(tmp_path, runs):
    make_trial(tmp_path / "sampling", 5)
    add_sampling(tmp_path / "sampling")
    text = side_by_side(tmp_path, {**runs, "plain sampling": tmp_path / "sampling"})
    (points,) = re.findall(r'points="([^"]*)"[^>]*><title>plain sampling', text)
    heights = [point.split(",")[1] for point in points.split()]
    assert len(heights) == 2
    assert heights[0] == heights[1]


def test_scrolling_parts_are_reached_by_keyboard(tmp_path, runs):
    page = Page(side_by_side(tmp_path, runs, command="rsd demo"))
    scrolling = [attributes for _, attributes in page.tags if attributes.get("class") in ("wide", "command")]
    assert scrolling
    assert all(attributes.get("tabindex") == "0" for attributes in scrolling)
    assert any(attributes.get("name") == "viewport" for attributes in page.all("meta"))
    assert page.all("html") == [{"lang": "en"}]


def test_texts_given_by_the_caller_are_escaped(tmp_path, runs):
    attack = "<script>alert(1)</script>"
    page = Page(side_by_side(tmp_path, {attack: runs["with"]}, title=attack, note="<b>", command="<img src=x>"))
    assert len(page.all("script")) == 1, "that of the page itself"
    assert len(page.all("img")) == 2, "the grid and the enlarged image"
    assert page.text.count(attack) >= 2
    assert "<img src=x>" in page.text


@pytest.mark.parametrize("value", [float("nan"), 0.0, -0.01, 1.4, 1e-9])
def test_page_can_be_made_of_any_value(tmp_path, runs, value):
    for folder in runs.values():
        metrics = json.loads((folder / "save" / "metrics.json").read_text())
        metrics |= {"diversity": {"dino": value}, "class_accuracy": value}
        (folder / "save" / "metrics.json").write_text(json.dumps(metrics))
        logged = f"step,train/diversity_dino,train/diversity_clip\n0,{value},\n9,{value},\n"
        (folder / "csv_logs" / "version_0" / "metrics.csv").write_text(logged)
    page = Page(side_by_side(tmp_path, runs))
    drawn = [attributes for tag, attributes in page.tags if tag in ("svg", "polyline", "line", "circle", "text")]
    assert not any("nan" in str(attributes) for attributes in drawn)


def test_page_of_runs_without_logs_or_differences(tmp_path, runs):
    page = Page(side_by_side(tmp_path, {"one": runs["with"], "two": runs["with"]}))
    assert "Nothing." in page.text
    add_sampling(runs["with"])
    assert "Over the steps" not in Page(side_by_side(tmp_path, {"one": runs["with"]})).text


def test_page_is_written_whole_in_utf8(tmp_path, runs):
    text = side_by_side(tmp_path, runs, title="Ein Pilz \u2013 \u30ad\u30ce\u30b3")
    assert "\u30ad\u30ce\u30b3" in text
    assert [file.name for file in tmp_path.glob("page*")] == ["page.html"]


def test_numbers_that_were_not_measured_are_dashes(tmp_path, runs):
    metrics = json.loads((runs["with"] / "save" / "metrics.json").read_text())
    del metrics["diversity"], metrics["vendi"]
    (runs["with"] / "save" / "metrics.json").write_text(json.dumps(metrics))
    text = side_by_side(tmp_path, runs)
    row = re.search(r'<tr><th scope="row">with</th>(.*?)</tr>', text[text.index('class="numbers"') :]).group(1)
    assert re.findall("<td>(.*?)</td>", row) == ["-", "-", "-", "0.75", "2.00", "0.25"]


def test_runs_that_have_not_finished_are_missing(tmp_path, runs):
    (runs["with"] / "save" / "metrics.json").unlink()
    assert "with: has not finished" in Page(side_by_side(tmp_path, runs)).text
    (runs["without"] / "save" / "metrics.json").unlink()
    with pytest.raises(UserError, match="nothing to report yet"):
        write_report(runs)


def test_3d_runs_show_sheets_and_turntables(tmp_path, runs):
    for folder in runs.values():
        add_turntable(folder, views=8)
    page = Page(side_by_side(tmp_path, runs))
    assert "2 objects, one a row, from 8 sides" in page.text
    assert [video["aria-label"].partition(":")[0] for video in page.all("video")] == list(runs)
    assert "View accuracy: share of renders" in page.text


def test_answers_to_inverse_problems_stand_beside_measurement_and_truth(tmp_path, runs):
    for shade, folder in enumerate(runs.values()):
        add_answers(folder, 90 * shade)
    page = Page(side_by_side(tmp_path, runs))
    alts = [image["alt"] for image in page.all("img") if image["alt"]]
    for name in RESTORED:
        assert alts.count(f"{name}: measurement") == alts.count(f"{name}: truth") == 1, "they are the same for both"
        for label in runs:
            headings = [alt.rpartition(", ")[2] for alt in alts if alt.startswith(f"{name}: {label}, ")]
            assert headings == ["3 answers", "mean", "deviation"]
    for sentence in ("gains PSNR by hedging", "Residual: root mean", "Deviation is twice", "a held-out network took"):
        assert sentence in page.text
    assert "22.00" in page.text, "PSNR of the mean"


def test_runs_on_different_measurements_are_shown_apart(tmp_path, runs):
    for shade, folder in enumerate(runs.values()):
        add_answers(folder, 90 * shade, truth=(shade, 0, 0))
    alts = [image["alt"] for image in Page(side_by_side(tmp_path, runs)).all("img")]
    assert alts.count(f"{RESTORED[0]}: truth") == 2
