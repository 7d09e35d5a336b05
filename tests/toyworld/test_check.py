"""`rsd toyworld check`, `render` and `card`, on images with known labels."""

import json

import pytest
import torch
from PIL import Image
from threestudio_rsd.cli.main import main
from threestudio_rsd.errors import UserError
from threestudio_rsd.files import data_path
from threestudio_rsd.images import read_images
from threestudio_rsd.toyworld import model_card, sampling
from threestudio_rsd.toyworld.check import CheckRow, Counts, Labeled, probe, table
from threestudio_rsd.toyworld.check import rows as measures
from threestudio_rsd.toyworld.check.drawing import prompts
from threestudio_rsd.toyworld.model_card import SIDE, side_by_side
from threestudio_rsd.toyworld.render import render
from threestudio_rsd.toyworld.truth import true_distribution
from threestudio_rsd.toyworld.world import CLASSES, COLORS, VIEWS, Camera, choose_scenes, sample_scenes

from ..oracle_judge import OracleJudge, labeled_images

JUDGE = OracleJudge()


def perfect(counts: Counts, name: str) -> Labeled:
    """Samples of a model that follows every prompt."""
    _, labels = prompts(counts, pixel=True, flow=True)[name]
    return Labeled(labeled_images(labels), labels)


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (measures.class_rows, "open 3"),
        (measures.color_rows, "colored"),
        (measures.view_rows, "viewed"),
        (measures.pixel_rows, "pixel"),
    ],
)
def test_a_model_that_follows_its_prompts_scores_1(rows, name: str) -> None:
    assert all(row.measured == 1 and row.passed is not False for row in rows(JUDGE, perfect(Counts(), name)))


def test_model_with_one_class_color_and_view_fails() -> None:
    for rows, name, attribute, share in (
        (measures.class_rows, "open 3", "class", 1 / 8),
        (measures.color_rows, "colored", "color", 1 / 8),
        (measures.view_rows, "viewed", "view", 1 / 4),
    ):
        labels = perfect(Counts(), name).labels
        blind = Labeled(labeled_images({**labels, attribute: torch.zeros_like(labels[attribute])}), labels)
        row = rows(JUDGE, blind)[0]
        assert row.measured == share
        assert not row.passed
        assert row.verdict == f"missed by {100 * (row.needed - share):.1f} points"


def test_prompts_name_the_attributes_of_their_labels() -> None:
    for request, labels in prompts(Counts(2, 1, 1, 1), pixel=True, flow=True).values():
        for i, prompt in enumerate(request.prompts):
            assert CLASSES[labels["class"][i]] in prompt
            assert [color for color in COLORS if color in prompt.split()] == (
                [COLORS[labels["color"][i]]] if "color" in labels else []
            )
            assert [view for view in VIEWS if view in prompt] == (
                [VIEWS[labels["view"][i]]] if "view" in labels else []
            )


def test_combinations_of_attributes_are_equally_frequent() -> None:
    _, labels = prompts(Counts(), pixel=False, flow=False)["colored"]
    pairs = labels["class"] * len(COLORS) + labels["color"]
    assert torch.bincount(pairs).tolist() == [Counts().per_caption] * 64


def test_diversity_rows_report_the_guidance_scale_with_fewest_colors() -> None:
    all_colors, two_colors = torch.arange(8).repeat(4), torch.arange(2).repeat(16)
    images = {1.0: labeled_images({"color": all_colors}), 3.0: labeled_images({"color": two_colors})}
    covered, bits = measures.diversity_rows(JUDGE, images)
    assert covered.measured == 2
    assert covered.verdict == "missed by 6"
    assert bits.measured == pytest.approx(1)
    assert bits.verdict == "missed by 1.80 bits"
    assert all(row.passed for row in measures.diversity_rows(JUDGE, {1.0: images[1.0]}))


def test_within_class_entropy_detects_one_color_per_class() -> None:
    classes = torch.arange(8).repeat_interleave(8)
    one_color_each = Labeled(labeled_images({"class": classes, "color": classes}), {"class": classes})
    assert all(row.passed for row in measures.diversity_rows(JUDGE, {3.0: one_color_each.images}))
    assert measures.within_class_rows(JUDGE, one_color_each)[0].measured == 0


def test_distances_to_the_truth_are_small_for_true_samples() -> None:
    scenes = [sample_scenes(n, torch.Generator().manual_seed(seed)) for seed, n in enumerate((2000, 400, 400))]
    reference, held_out, samples = (Labeled(labeled_images(s.labels()), s.labels()) for s in scenes)
    collapsed = samples.images[:1].repeat(400, 1, 1, 1) + 1e-4 * torch.rand(400, 3, 8, 8)
    rows = measures.truth_rows(JUDGE, {1.0: samples.images, 3.0: collapsed}, reference, held_out)
    near, near_variation, far, far_variation = (row.measured for row in rows)
    assert near < 0.01 < far
    assert near_variation < 0.35 < 0.9 < far_variation
    assert all(row.needed is None for row in rows)


def test_probe_finds_linearly_encoded_labels() -> None:
    scenes = [sample_scenes(n, torch.Generator().manual_seed(n)).labels() for n in (600, 300)]
    sizes = {name: len(p) for name, p in true_distribution().items()}

    def features(labels):
        parts = [torch.nn.functional.one_hot(labels[name], sizes[name]) for name in ("class", "color", "view")]
        return torch.cat(parts, 1) * 100 + 7 + 0.1 * torch.randn(len(labels["class"]), 20)

    rows = probe.probe_rows(features(scenes[0]), scenes[0], features(scenes[1]), scenes[1])
    assert [row.measured for row in rows] == [1, 1, 1]
    assert all(row.passed for row in rows)
    noise = probe.probe_rows(torch.randn(600, 20), scenes[0], torch.randn(300, 20), scenes[1])
    assert noise[0].measured < 0.3
    assert not any(row.passed for row in noise)


@pytest.mark.slow
def test_bundled_autoencoder_and_clip_are_measured() -> None:
    images, scenes = sampling.draw_renders(24, 5, workers=1)
    (psnr,) = measures.autoencoder_rows(data_path("load/toyworld/text-to-image/vae"), images)
    assert 20 < psnr.measured < 60
    (clip,) = measures.clip_rows(data_path("load/toyworld/clip"), Labeled(images, scenes.labels()))
    assert clip.measured > 0.4  # chance is 1 in 64


def test_every_class_has_a_front_that_differs_from_its_back() -> None:
    for name in CLASSES:
        front, back = render(name, "green", "white", camera=Camera(azimuth=torch.tensor([0.0, 180.0])))
        assert ((front - back).abs().amax(0) > 0.2).sum() > 40, name  # pixels


@pytest.mark.parametrize(("measured", "code"), [(0.95, 0), (0.949, 1)])
def test_exit_code_and_json(measured: float, code: int, tmp_path, monkeypatch, capsys) -> None:
    rows = [CheckRow("colors", measured, 0.95), CheckRow("for information", 0.1)]
    monkeypatch.setattr(table, "check", lambda folder, workers: rows)
    file = tmp_path / "new" / "check.json"
    assert main(["toyworld", "check", "--output", str(file)]) == code
    records = json.loads(file.read_text())["rows"]
    assert [record["passed"] for record in records] == [not code, None]
    assert ("missed by 0.1 points" in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["paint"], "render, check, card, train"),
        (["render", "--count", "0"], "at least 1"),
        (["render", "--class", "boat"], "mushroom"),
        (["render", "--color", "beige"], "purple"),
        (["render", "--elevation", "91"], "-90 to 90"),
        (["render", "--azimuth", "nan"], "-360 to 360"),
        (["check", "--folder", "no/such/folder"], "no/such/folder"),
        (["check", "--workers", "0"], "at least 1"),
    ],
)
def test_invalid_arguments_print_one_sentence_and_exit_with_2(arguments: list[str], words: str, capsys) -> None:
    assert main(["toyworld", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_folder_without_networks_raises_user_error(tmp_path) -> None:
    (tmp_path / "judge").mkdir()
    with pytest.raises(UserError, match="lacks text-to-image, dino, clip;"):
        table.check(tmp_path, 1)


def test_render_command_writes_images_and_attributes(tmp_path) -> None:
    fixed = ["--class", "ice cream", "--color", "blue", "--azimuth", "180", "--elevation", "10"]
    assert main(["toyworld", "render", "--count", "3", "--seed", "4", "--output", str(tmp_path), *fixed]) == 0
    records = json.loads((tmp_path / "attributes.json").read_text())
    assert [record["caption"] for record in records] == ["a blue ice cream, back view"] * 3
    for record in records:
        shown = read_images(str(tmp_path / record["file"]), 64)[0]
        camera = Camera(record["azimuth"], record["elevation"], record["distance"], record["fovy"])
        names = (record[name] for name in ("class", "color", "accent", "background", "size", "height"))
        expected = render(*names, camera=camera)[0]
        assert (shown - expected).abs().mean() < 0.01
    assert (tmp_path / "grid.png").is_file()
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_given_attributes_do_not_change_the_others() -> None:
    free, fixed = choose_scenes(6, 1), choose_scenes(6, 1, "car", azimuth=90.0)
    assert (fixed.object_class == CLASSES.index("car")).all()
    assert (fixed.camera.azimuth == 90).all()
    assert torch.equal(free.color, fixed.color)
    assert torch.equal(free.camera.elevation, fixed.camera.elevation)


def test_card_shows_samples_on_the_left() -> None:
    left, right = torch.full((SIDE**2, 3, 64, 64), 0.2), torch.full((SIDE**2, 3, 64, 64), 0.7)
    rows = side_by_side(left, right).mean((1, 2, 3)).view(SIDE, 2 * SIDE + 1)
    torch.testing.assert_close(rows, torch.tensor([0.2] * SIDE + [1.0] + [0.7] * SIDE).expand(SIDE, -1))


@pytest.mark.slow
def test_card_command_writes_a_picture_per_class(tmp_path, monkeypatch) -> None:
    def draw(requests, folder, workers):
        return {name: torch.rand(len(request.prompts), 3, 64, 64) for name, request in requests.items()}

    monkeypatch.setattr(model_card, "draw_samples", draw)
    assert main(["toyworld", "card", "--output", str(tmp_path)]) == 0
    assert {file.stem.replace("-", " ") for file in tmp_path.glob("*.png")} == {*CLASSES, "overview"}
    width, height = Image.open(tmp_path / "car.png").size
    assert (width, height) == (17 * 66 - 2, 8 * 66 - 2)


@pytest.mark.slow
def test_samples_do_not_depend_on_the_number_of_workers() -> None:
    folder = data_path("load/toyworld")
    few = sampling.draw_samples({"a": sampling.Request(("a cup",) * 18, 3.0, 1)}, folder, 2, steps=2)["a"]
    last = sampling.draw_samples({"a": sampling.Request(("a cup",) * 2, 3.0, 17)}, folder, 1, steps=2)["a"]
    torch.testing.assert_close(few[16:], last, atol=1e-3, rtol=0)


@pytest.mark.slow
def test_check_runs_on_the_bundled_networks() -> None:
    rows = table.check(data_path("load/toyworld"), 2, Counts(1, 1, 1, 1, held_out=64, probe=200, steps=2))
    needed = [row.needed for row in rows if row.needed is not None]
    networks = [0.99, 0.99, 30, 0.95, 0.95, 8, 2.8, 0.75, 0.85, 0.95, 0.7, 0.95]
    flow = [0.95, 0.95, 8, 2.8]
    assert sorted(needed) == sorted([*networks, *flow])
    assert all(torch.tensor(row.measured).isfinite() for row in rows)
    assert len(table.format_table(rows).splitlines()) > len(rows)
