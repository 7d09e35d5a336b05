"""rsd report writes one page that needs nothing else and shows every result."""

import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from threestudio_rsd.cli.main import USER_ERROR, run_command
from threestudio_rsd.cli.main import main as rsd
from threestudio_rsd.errors import UserError
from threestudio_rsd.report.charts import HIGHER, WIDTH, Line, Point, draw_lines, draw_points, format_figure
from threestudio_rsd.report.images import encode
from threestudio_rsd.report.study import Estimate

from tests.report.report_folders import add_turntable, make_reproduction, make_sweep, make_table, make_trial

LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}  # attributes that can cause a request
VOID = {"meta", "link", "img", "br", "line", "circle", "path", "polyline", "polygon"}


def main(arguments: list[str]) -> int:
    return run_command(["report", *arguments])


class Page(HTMLParser):
    """Collects attributes and text, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[dict] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.attributes.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes.append(dict(attrs))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def report(folder) -> str:
    assert main([str(folder)]) == 0
    return (folder / "report.html").read_text()


@pytest.fixture
def reproduction(tmp_path):
    folder = tmp_path / "fig3"
    folder.mkdir()
    return make_reproduction(folder)


@pytest.mark.parametrize("make", [make_sweep, make_reproduction, make_table])
def test_page_nests_and_asks_for_nothing(tmp_path, make):
    folder = tmp_path / "results"
    folder.mkdir()
    text = report(make(folder))
    for attributes in Page(text).attributes:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith(("data:", "#")), f"{name}={attributes[name][:60]}"
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text


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


def test_hundreds_of_runs_take_little_room(tmp_path):
    import json

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
    with pytest.raises(UserError, match="is a folder"):
        main([str(tmp_path / "sweep"), "--output", str(tmp_path)])


def test_separate_images_stand_in_a_row(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for index, file in enumerate(files):
        Image.new("RGB", (8, 8), (index * 100, 0, 0)).save(file)
    picture = encode(files, lossless=True)
    assert (picture.width, picture.height, picture.is_small) == (28, 8, True)


def test_points_lie_where_their_figures_are():
    points = [Point("a", Estimate(0.1), Estimate(30.0), 0), Point("b", Estimate(0.3, 0.2, 0.4), Estimate(20.0), 0)]
    svg = draw_points(points, "x", "y", HIGHER, "lower")
    (left, top), (right, bottom) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert float(left) < float(right) and float(top) < float(bottom), "y grows upwards"
    low, high = re.search(r'd="M([\d.]+),[\d.]+H([\d.]+)"', svg).groups()
    assert float(low) < float(right) < float(high) <= WIDTH
    assert "→ more is better" in svg
    assert "↓ less is better" in svg


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-9, -3.0, 1e6])
def test_a_single_value_can_be_drawn(value):
    svg = draw_points([Point("a", Estimate(value), Estimate(value, value, value), 0, short="0")], "x", "y", "", "")
    assert "nan" not in svg
    assert "inf" not in svg
    assert "nan" not in draw_lines([Line("a", 0, [(10, value), (20, value)])], "loss", is_loss=True)


def test_losses_over_several_powers_of_ten_have_such_an_axis():
    svg = draw_lines([Line("a", 0, [(0, 1000.0), (10, 1.0)])], "loss", is_loss=True)
    assert [text for text in ("1000", "100", "10", "1") if f">{text}</text>" in svg] == ["1000", "100", "10", "1"]


def test_figures_have_three_digits():
    assert format_figure(Estimate(0.123456, 0.1, 0.2)) == "0.123 [0.100, 0.200]"
    assert format_figure(Estimate(1234.5)) == "1234"
