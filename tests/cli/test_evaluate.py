"""`rsd evaluate` on small folders, with the shipped networks."""

import json
import sys
from pathlib import Path

import pytest
import torch
from threestudio_rsd.cli.main import run_command
from threestudio_rsd.errors import UserError
from threestudio_rsd.evaluation import instruments
from threestudio_rsd.evaluation.image_sets import read_image_sets
from threestudio_rsd.evaluation.instruments import Instruments, Options, embed
from threestudio_rsd.images import save_image
from threestudio_rsd.metrics import diversity, view_diversity
from threestudio_rsd.repulsion import load_features
from threestudio_rsd.toyworld import judge_objects, truth_metrics
from threestudio_rsd.toyworld.model_card import save_renders
from threestudio_rsd.toyworld.render import render_scenes
from threestudio_rsd.toyworld.world import choose_scenes
from torch import Tensor, nn

GUIDED = {
    "system_type": "particle-image-system",
    "system": {"guidance": {"pretrained_model_name_or_path": "bundled", "gamma": 20.0, "features": "dino"}},
}


@pytest.fixture(scope="module")
def mushrooms() -> Tensor:
    return (render_scenes(choose_scenes(6, 0, "mushroom")) * 255).round() / 255


@pytest.fixture(autouse=True)
def _few_references(monkeypatch) -> None:
    monkeypatch.setattr(instruments, "REFERENCES", 12)


def save_images(folder: Path, images: Tensor, name: str = "particle_{:02d}.png") -> Path:
    for index, image in enumerate(images):
        save_image(image, folder / name.format(index))
    return folder


def save_trial(folder: Path, metrics: dict, config: dict) -> Path:
    for file, content in (("save/metrics.json", metrics), ("configs/parsed.yaml", config)):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(content))  # JSON is YAML
    return folder


def run(tmp_path: Path, *arguments: str) -> list[dict]:
    output = tmp_path / "new" / "metrics.json"
    assert run_command(["evaluate", *arguments, "--output", str(output)]) == 0
    return json.loads(output.read_text())["sets"]


def test_a_run_is_measured_with_what_its_config_says(tmp_path, mushrooms, capsys) -> None:
    trial = save_trial(tmp_path / "trial", {"prompt": "a mushroom"}, GUIDED)
    save_images(trial / "save" / "test", mushrooms)
    (found,) = run(tmp_path, str(trial), "--reference", "bundled")
    assert found["prompts"] == ["a mushroom"]
    assert found["bundled"]
    assert found["images"] == 6
    assert (found["guide"], found["held_out"], found["reference_features"]) == ("dino", "clip", "judge")
    metrics = {key: value["mean"] for key, value in found["metrics"].items()}
    for name in ("dino", "clip"):
        expected = float(diversity(load_features(name, bundled=True)(mushrooms)))
        assert metrics[f"diversity_{name}"] == pytest.approx(expected, abs=1e-5)
        assert metrics[f"similarity_{name}"] == pytest.approx(1 - expected, abs=1e-5)
        assert 1 < metrics[f"vendi_{name}"] < 6
    truth = truth_metrics(mushrooms, Instruments(Options())._judge(), "mushroom")
    assert metrics["class_accuracy"] == truth["class_accuracy"] == 1
    assert metrics["colors"] == truth["colors"]
    assert metrics["total_variation_modes"] == pytest.approx(truth["total_variation_modes"])
    assert metrics["frechet"] > 0
    assert 0 < metrics["coverage"] <= 1
    assert 0 < metrics["recall"] <= 1
    assert {"clip_score", "kid"} <= metrics.keys()
    assert "aesthetic" not in metrics
    shown = capsys.readouterr().out
    assert f"{metrics['diversity_dino']:.3f}*" in shown
    assert f"{metrics['diversity_clip']:.3f} " in shown
    assert "dino guided the repulsion" in shown
    assert "mostly bias" in shown


def test_a_missing_held_out_network_is_reported(tmp_path, mushrooms, capsys) -> None:
    trial = save_trial(tmp_path / "trial", {"prompt": "a mushroom"}, GUIDED)
    save_images(trial / "save" / "test", mushrooms[:2])
    (found,) = run(tmp_path, str(trial), "--features", "dino", "--metrics", "diversity")
    assert found["held_out"] is None
    assert list(found["metrics"]) == ["diversity_dino"]
    assert "add one to --features" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("system", "guide"),
    [
        ({"guidance": {"gamma": 0.0, "features": "dino"}}, None),
        ({"guidance": {"gamma": [0, 5.0, 0.0, 100]}}, "dino"),
        ({"guidance": {"features": "clip"}, "guidance_type": "svgd-guidance"}, "clip"),
        ({"solver": {"gamma": 50.0}, "features": "dinov2"}, "dinov2"),
        ({"strength": 30.0, "features": "dinov2"}, "dinov2"),
        ({"strength": 0.0, "features": "dino"}, None),
        ({}, None),
    ],
)
def test_the_guide_is_read_from_the_config(system, guide, tmp_path, mushrooms) -> None:
    config = {"system": system, "system_type": "particle-guidance-system" if "strength" in system else "other"}
    trial = save_trial(tmp_path, {"prompt": "a mushroom"}, config)
    save_images(trial / "save" / "test", mushrooms[:1])
    assert read_image_sets([trial])[0].guide == guide


def test_answers_to_measurements_are_compared_with_their_truths(tmp_path, mushrooms) -> None:
    images = {"one": {}, "two": {}}
    trial = save_trial(tmp_path / "trial", {"operator": {}, "images": images}, {"system_type": "latent-inverse-system"})
    for index, name in enumerate(images):
        folder = save_images(trial / "save" / "test" / name, (mushrooms[[index, index]] + 0.1).clamp(0, 1))
        save_image(mushrooms[index], folder / "truth.png")
        save_image(mushrooms[0], folder / "particle_00_x.png")
    (found,) = run(tmp_path, str(trial), "--metrics", "psnr,ssim,diversity,truth")
    assert (found["images"], found["groups"]) == (4, 2)
    metrics = found["metrics"]
    assert metrics["psnr"]["mean"] > 19.9
    assert len(metrics["psnr"]["values"]) == 2
    assert len(metrics["psnr"]["interval"]) == 2
    assert metrics["diversity_dino"]["mean"] == pytest.approx(0, abs=1e-5)
    assert not [key for key in metrics if key.startswith("total_variation")]


def test_objects_are_measured_camera_by_camera(tmp_path) -> None:
    cameras = 9  # of which the last sees what the first does; 8 are used
    azimuth = torch.linspace(0, 360, cameras)
    views = torch.stack(
        [render_scenes(choose_scenes(cameras, seed, "car", azimuth=0.0, elevation=15.0)) for seed in (3, 4)]
    )
    views = (views * 255).round() / 255
    trial = save_trial(tmp_path / "trial", {"prompt": "a car", "colors": 2}, {"data": {"eval_elevation_deg": 15.0}})
    save = trial / "save"
    for index in range(cameras):
        save_image(torch.cat([*views[:, index]], 2), save / "it20-test" / "all" / f"{index}.png")
    for particle in range(2):
        (save / "it20-test" / f"particle_{particle:02d}").mkdir()
    (save / "it3-test" / "all").mkdir(parents=True)  # of an earlier test
    (found,) = run(tmp_path, str(trial), "--features", "dino")
    assert (found["images"], found["groups"], found["bundled"]) == (16, 8, True)
    chosen = [0, 1, 2, 3, 4, 5, 6, 7]
    expected = view_diversity(views[:, chosen], {"dino": load_features("dino", bundled=True)})
    assert found["metrics"]["diversity_dino"]["mean"] == pytest.approx(expected["dino"], abs=1e-5)
    judged = judge_objects(
        views[:, chosen], azimuth[chosen], torch.full((8,), 15.0), Instruments(Options())._judge(), 7
    )
    for key in ("colors", "view_accuracy", "class_accuracy"):
        assert found["metrics"][key]["mean"] == pytest.approx(judged[key])


def test_a_folder_s_prompts_make_its_groups(tmp_path, mushrooms) -> None:
    folder = save_images(tmp_path / "images", mushrooms[:4])
    (folder / "prompts.txt").write_text("a car\na mushroom\na car\na mushroom\n")
    (found,) = run(tmp_path, str(folder), "--bundled", "--metrics", "clip_score,diversity,truth")
    assert found["prompts"] == ["a car", "a mushroom"]
    assert found["groups"] == 2
    metrics = found["metrics"]
    assert metrics["class_accuracy"]["values"] == [0, 1]
    assert metrics["clip_score"]["values"][0] < metrics["clip_score"]["values"][1]
    network = load_features("dino", bundled=True)
    by_hand = [float(diversity(network(mushrooms[first:4:2]))) for first in (0, 1)]
    assert metrics["diversity_dino"]["values"] == pytest.approx(by_hand, abs=1e-5)
    names = [f"particle_{index:02d}.png" for index in range(4)]
    (folder / "prompts.json").write_text(json.dumps(dict(zip(names, ["a", "b", "b", "b"], strict=True))))
    assert [len(group.images) for group in read_image_sets([folder])[0].groups] == [1, 3]
    assert [group.prompt for group in read_image_sets([folder], prompt="c")[0].groups] == ["c"]


def test_prompts_that_do_not_fit_are_named(tmp_path, mushrooms) -> None:
    folder = save_images(tmp_path, mushrooms[:3])
    (folder / "prompts.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="2 prompts for 3 images"):
        read_image_sets([folder])
    (folder / "prompts.json").write_text('{"particle_00.png": "a"}')
    with pytest.raises(UserError, match=r"particle_01\.png"):
        read_image_sets([folder])


def test_single_files_are_one_set_and_folders_of_trials_are_opened(tmp_path, mushrooms) -> None:
    for name in ("a", "b"):
        trial = save_trial(tmp_path / "runs" / name, {"prompt": "a mushroom"}, GUIDED)
        save_images(trial / "save" / "test", mushrooms[:1])
    files = sorted(save_images(tmp_path / "loose", mushrooms[:2]).iterdir())
    sets = read_image_sets([files[0], tmp_path / "runs", files[1]], prompt="a tree")
    assert [(each.label, len(each)) for each in sets] == [
        ("2 images", 2),
        (str(tmp_path / "runs" / "a"), 1),
        (str(tmp_path / "runs" / "b"), 1),
    ]
    assert all(group.prompt == "a tree" for each in sets for group in each.groups)


def test_renders_of_the_bundled_world_are_a_folder_without_their_overview(tmp_path) -> None:
    save_renders(choose_scenes(3, 0), tmp_path)
    assert len(read_image_sets([tmp_path])[0]) == 3


def test_a_folder_is_a_reference_and_inception_is_left_out_in_a_line(tmp_path, mushrooms, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    images = save_images(tmp_path / "images", mushrooms)
    arguments = [str(images), "--metrics", "frechet,coverage", "--reference", str(images)]
    (found,) = run(tmp_path, *arguments)
    shown = capsys.readouterr().out
    assert found["metrics"] == {}
    assert "Left out: frechet, coverage: " in shown
    assert "pip install torch-fidelity`, or `pip install '.[evaluate]'" in shown
    (found,) = run(tmp_path, *arguments, "--reference-features", "judge")
    assert found["metrics"]["coverage"]["mean"] == 1
    assert found["metrics"]["frechet"]["mean"] == pytest.approx(0, abs=1e-3)


def test_what_cannot_be_loaded_is_left_out_and_the_rest_goes_on(tmp_path, mushrooms, capsys) -> None:
    images = save_images(tmp_path / "images", mushrooms[:3])
    features = "euclidean,nobody/nothing"
    (found,) = run(tmp_path, str(images), "--prompt", "a mushroom", "--features", features, "--clip", "no/clip")
    assert list(found["metrics"]) == ["similarity_euclidean", "diversity_euclidean", "vendi_euclidean"]
    shown = capsys.readouterr().out
    assert "Left out: similarity_nobody/nothing, diversity_nobody/nothing" in shown
    assert "Left out: clip_score: " in shown
    assert "'no/clip'" in shown
    assert "Left out: aesthetic: " in shown
    assert "frechet, kid, recall, coverage (--reference); psnr, ssim, lpips (--truth)" in shown


def test_the_aesthetic_head_sees_clips_embeddings(tmp_path, mushrooms, monkeypatch) -> None:
    from threestudio_rsd.files import data_path

    monkeypatch.setattr(instruments, "AESTHETIC_CLIP", str(data_path("load/toyworld/clip")))
    head = nn.Linear(64, 1)
    torch.save(head.state_dict(), tmp_path / "head.pth")
    images = save_images(tmp_path / "images", mushrooms[:2])
    (found,) = run(tmp_path, str(images), "--metrics", "aesthetic", "--aesthetic", str(tmp_path / "head.pth"))
    embeddings = load_features("clip", bundled=True)(mushrooms[:2])
    with torch.no_grad():
        expected = float(head(embeddings / embeddings.norm(dim=1, keepdim=True)).mean())
    assert found["metrics"]["aesthetic"]["mean"] == pytest.approx(expected, abs=1e-5)


def test_truths_by_name_one_for_all_or_an_error(tmp_path, mushrooms) -> None:
    images, truths = save_images(tmp_path / "images", mushrooms[:2]), save_images(tmp_path / "truths", mushrooms[:3])
    (found,) = run(tmp_path, str(images), "--truth", str(truths), "--metrics", "psnr")
    assert found["metrics"]["psnr"]["mean"] == 100
    (found,) = run(tmp_path, str(images), "--truth", str(truths / "particle_00.png"), "--metrics", "psnr")
    assert found["metrics"]["psnr"]["mean"] < 100
    with pytest.raises(UserError, match="--truth has no image named 'particle_00'"):
        read_image_sets([truths], truth=save_images(tmp_path / "others", mushrooms[:2], "other_{}.png"))


def test_mixed_sizes_are_resized_by_the_networks_and_reported(tmp_path, mushrooms, capsys) -> None:
    images = save_images(tmp_path / "images", mushrooms[:2])
    save_image(torch.rand(3, 40, 80), images / "wide.png")
    (found,) = run(tmp_path, str(images), "--bundled", "--features", "dino,euclidean", "--prompt", "a mushroom")
    assert {"diversity_dino", "colors", "clip_score"} <= found["metrics"].keys()
    assert "diversity_euclidean" not in found["metrics"]
    shown = capsys.readouterr().out
    assert "Sizes: 80x40, 64x64" in shown
    assert "does not resize" in shown


def test_features_keep_the_order_of_images_of_any_sizes() -> None:
    images = [torch.full((3, size, 8), float(index)) for index, size in enumerate([8, 8, 4, 8])]
    assert embed(lambda batch: batch[:, 0, 0, :1], images).flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["{}/nowhere"], "nowhere' does not exist"),
        (["{}/empty"], "holds no image"),
        (["{}/unfinished"], "holds no finished run"),
        (["{}/broken"], "cannot be read"),
        (["{}/images", "--metrics", "fdi"], "--metrics='fdi' is unknown; accepted: similarity"),
        (["{}/images", "--metrics", "frechet"], "--metrics=frechet needs --reference"),
        (["{}/images", "--metrics", ","], "names nothing"),
        (["{}/images", "--features", "dnio"], "--features='dnio' is unknown"),
        (["{}/images", "--reference", "{}/nowhere"], "--reference='.*nowhere' does not exist"),
        (["{}/images", "--truth", "{}/nowhere"], "--truth='.*nowhere' does not exist"),
        (["{}/images", "--device", "abacus"], "--device='abacus' cannot be used"),
        (["{}/images", "--output", "{}"], "a file, not a folder"),
    ],
)
def test_mistakes_are_named_in_a_sentence(arguments, named, tmp_path, mushrooms) -> None:
    save_images(tmp_path / "images", mushrooms[:2])
    save_trial(tmp_path / "unfinished", {"prompt": "a mushroom"}, {})
    for folder in ("empty", "broken"):
        (tmp_path / folder).mkdir()
    (tmp_path / "broken" / "a.png").write_text("no image")
    with pytest.raises(UserError, match=named) as error:
        run_command(["evaluate", *(argument.format(tmp_path) for argument in arguments)])
    assert "\n" not in str(error.value)
