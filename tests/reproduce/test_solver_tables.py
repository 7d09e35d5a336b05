"""Solver tables: rows and settings on each prior, reuse of finished work, and metrics of the answers."""

import json
from pathlib import Path

import pytest
import torch
from threestudio_rsd.cli.main import main
from threestudio_rsd.errors import UserError
from threestudio_rsd.evaluation import instruments
from threestudio_rsd.files import data_path
from threestudio_rsd.images.reading import read_image
from threestudio_rsd.inverse import SolverConfig
from threestudio_rsd.inverse.operators import OperatorConfig
from threestudio_rsd.metrics import diversity, psnr
from threestudio_rsd.reproduce import definitions, solver_tables
from threestudio_rsd.reproduce.definitions import read_solver_table
from threestudio_rsd.reproduce.experiment_files import list_experiments, read_settings
from threestudio_rsd.repulsion import features, load_features
from threestudio_rsd.toyworld.render import render_scenes
from threestudio_rsd.toyworld.world import choose_scenes

from tests.tiny_models import tiny_stable_diffusion

NAMES = [name for name in list_experiments() if read_settings(name)["kind"] == "inverse"]
OURS = {"x_step": "closed-form", "kernel_input": "clean", "lr_z": 0.15}
MASK = {"regularization": 0.001, "coupling": 0.009}  # D.2
PSLD = {"name": "psld", "likelihood_step": 0.3}
RED_DIFF = {"name": "latent-reddiff"}
MEASURED = {  # what the tables of README.md were made with
    "table1": {
        "PSLD": PSLD,
        "latent RED-diff": RED_DIFF,
        "RSD, gamma 0, D.2": {},
        "RSD, gamma 10, D.2": {"gamma": 10},
        "RSD, gamma 50, D.2": {"gamma": 50},
        "RSD, gamma 0, ours": OURS,
        "RSD, gamma 10, ours": {"gamma": 10, **OURS},
        "RSD, gamma 50, ours": {"gamma": 50, **OURS},
    },
    "table7": {
        "PSLD": PSLD,
        "RSD, gamma 0, ours": OURS,
        "RED-diff, 1000 steps": {"name": "reddiff", "n_steps": 1000},
        "DPS": {"name": "dps", "likelihood_step": 3},
    },
    "table8": {
        "PSLD": PSLD,
        "latent RED-diff": RED_DIFF,
        "RSD, gamma 0, D.2": MASK,
        "RSD, gamma 0, ours": {**MASK, **OURS},
        "RSD, gamma 50, ours": {"gamma": 50, **MASK, **OURS},
    },
}


def missing(device: str) -> None:
    raise UserError("its weights do not ship.")


@pytest.fixture(autouse=True)
def _no_download(monkeypatch) -> None:
    """Without LPIPS; Inception's place is taken by the mean color."""
    monkeypatch.setattr(instruments, "load_lpips", missing)
    monkeypatch.setattr(instruments, "load_inception", lambda device: lambda images: images.mean((2, 3)))


@pytest.fixture
def few_references(monkeypatch) -> None:
    monkeypatch.setattr(solver_tables, "REFERENCES", 20)


def keep_rows(monkeypatch, name: str, kept: slice) -> None:
    """Let an experiment have some of its rows only."""
    table = read_solver_table(name)
    table.rows = table.rows[kept]
    monkeypatch.setattr(solver_tables, "read_solver_table", lambda _: table)


def read_table(folder: Path) -> dict:
    return json.loads((folder / "table.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_tables_can_be_read(name) -> None:
    table = read_solver_table(name)
    assert {"bundled", "gpu"} == table.needs.keys()
    for prior in ("bundled", "org/model"):
        labels = [row.label for row in table.choose_rows(prior)[0]]
        assert len(set(labels)) == len(labels) > 1


@pytest.mark.parametrize("name", MEASURED)
def test_bundled_settings_are_those_of_the_measured_tables(name) -> None:
    table = read_solver_table(name)
    rows, left_out = table.choose_rows("bundled")
    assert not left_out
    assert {row.label: row.settings for row in rows} == MEASURED[name]
    assert {row.label for row in rows if row.prior == "bundled-pixel"} <= {"RED-diff, 1000 steps", "DPS"}
    assert table.bundled.images == 50
    assert table.bundled.settings == {"n_steps": 100, "n_particles": 2}
    hidden = ("random", 0.8) if name == "table8" else ("half-box", 0.8)
    assert (table.operator.name, table.operator.share, table.operator.side) == (*hidden, "left")


@pytest.mark.parametrize("name", NAMES)
def test_other_priors_have_the_settings_of_the_paper(name) -> None:
    table = read_solver_table(name)
    rows, left_out = table.choose_rows("org/model")
    assert [row.label for row in left_out] == (["RED-diff, 1000 steps", "DPS"] if name == "table7" else [])
    for row in rows:
        assert row.prior == "org/model"
        assert "ours" not in row.label
        solver = SolverConfig(**{**table.settings, **row.settings})
        assert (solver.n_steps, solver.n_particles, solver.kernel_input) == (1000, 4, "noisy")
        if solver.name == "rsd":
            assert (solver.lr_x, solver.lr_z, solver.x_step) == (0.4, 0.8, "adam")
            weights = (0.001, 0.009) if table.operator.name == "random" else (0.01, 0.075)
            assert (solver.regularization, solver.coupling) == weights
        if solver.name == "psld":
            assert solver.likelihood_step == 1


@pytest.mark.parametrize("prior", ["bundled", "org/model"])
def test_figures_show_rows_of_the_tables(prior) -> None:
    def work(name: str) -> list[tuple]:
        table = read_solver_table(name)
        return [(table.operator, row.prior, row.settings) for row in table.choose_rows(prior)[0]]

    for figure, other in (("fig18", "table1"), ("fig19", "table1"), ("fig22", "table8")):
        assert all(each in work(other) for each in work(figure))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"clam": ""}, "clam"),
        ({"operator": {"nmae": "random"}}, "nmae"),
        ({"rows": [{"label": "a", "setings": {}}]}, "setings"),
        ({"rows": [{"label": "a", "settings": {"lr_y": 1}}]}, "table1: a: .*lr_y"),
        ({"rows": [{"label": "a", "bundled": {"settings": {"lr_y": 1}}}]}, "table1: a: .*lr_y"),
        ({"quick": {"seeds": 1}}, "seeds"),
    ],
)
def test_an_unknown_key_is_named(change, word, monkeypatch) -> None:
    content = {**read_settings("table1"), **change}
    monkeypatch.setattr(definitions, "read_settings", lambda _: content)
    with pytest.raises(UserError, match=word):
        read_solver_table("table1")


@pytest.mark.slow
def test_a_table_is_made_and_its_finished_rows_are_kept(tmp_path, monkeypatch, capsys, few_references) -> None:
    pytest.importorskip("deepinv")
    command = ["reproduce", "table1", "--images", "2", "--steps", "2", "--output", str(tmp_path)]
    command += ["--rows", "RSD, gamma 0, D.2", "latent RED-diff"]
    assert main(command) == 0
    record = read_table(tmp_path / "table1")
    assert list(record["rows"]) == ["latent RED-diff", "RSD, gamma 0, D.2"]
    assert {"title", "claim", "command", "floor_frechet"} < record.keys()
    assert record["truth_frechet"] > record["floor_frechet"]  # two images in place of four
    for row in record["rows"].values():
        assert len(row["values"]["psnr"]) == len(row["values"]["colors"]) == 2
        assert (tmp_path / "table1" / row["sheet"]).is_file()
    assert record["rows"]["latent RED-diff"]["paper"]["psnr"] == 22.13
    assert {file.name for file in (tmp_path / "table1").iterdir()} == {
        "table.json",
        "report.html",
        *(f"{name}.{suffix}" for name in ("latent-red-diff", "rsd-gamma-0-d.2") for suffix in ("json", "png")),
    }
    printed = capsys.readouterr().out
    assert "22.13" in printed  # the paper's number stands beside ours
    assert record["claim"] in printed
    monkeypatch.setattr(solver_tables, "_restore", None)  # nothing is left to be run
    assert main(command) == 0
    assert read_table(tmp_path / "table1") == record


@pytest.mark.slow
def test_the_same_work_is_done_once(tmp_path, monkeypatch, few_references) -> None:
    pytest.importorskip("deepinv")
    options = ["--images", "1", "--steps", "2", "--output", str(tmp_path)]
    assert main(["reproduce", "fig18", *options]) == 0
    monkeypatch.setattr(solver_tables, "_restore", None)
    keep_rows(monkeypatch, "table1", slice(1, 2))
    assert main(["reproduce", "table1", *options]) == 0
    [row] = read_table(tmp_path / "table1")["rows"].values()
    assert row["values"] == read_table(tmp_path / "fig18")["rows"]["latent RED-diff"]["values"]
    sheets = [(tmp_path / name / row["sheet"]).read_bytes() for name in ("table1", "fig18")]
    assert sheets[0] == sheets[1]


@pytest.mark.slow
def test_an_interrupted_row_continues(tmp_path, monkeypatch, few_references) -> None:
    pytest.importorskip("deepinv")
    keep_rows(monkeypatch, "table1", slice(1, 2))
    monkeypatch.setattr(solver_tables, "BATCH", 1)
    command = ["reproduce", "table1", "--images", "3", "--steps", "2", "--output"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    solve, calls = solver_tables.solve, []

    def stop_at_the_third(*arguments, **settings):
        calls.append(settings["seed"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return solve(*arguments, **settings)

    monkeypatch.setattr(solver_tables, "solve", stop_at_the_third)
    assert main([*command, str(tmp_path / "cut")]) == 130
    assert main([*command, str(tmp_path / "cut")]) == 0
    assert calls == [0, 1, 2, 2]
    whole, cut = (read_table(tmp_path / name / "table1")["rows"]["latent RED-diff"] for name in ("whole", "cut"))
    assert (cut["values"], cut["frechet"]) == (whole["values"], whole["frechet"])


@pytest.mark.slow
def test_results_of_other_settings_are_not_overwritten(tmp_path, monkeypatch, capsys, few_references) -> None:
    pytest.importorskip("deepinv")
    keep_rows(monkeypatch, "table1", slice(1, 2))
    command = ["reproduce", "table1", "--images", "1", "--output", str(tmp_path)]
    assert main([*command, "--steps", "1"]) == 0
    assert main([*command, "--steps", "2"]) == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.slow
def test_quick_is_two_images_and_few_steps_of_every_solver(tmp_path, monkeypatch, few_references) -> None:
    pytest.importorskip("deepinv")
    steps = []
    solve = solver_tables.solve
    monkeypatch.setattr(
        solver_tables,
        "solve",
        lambda *args, **settings: steps.append(settings["n_steps"]) or solve(*args, **settings),
    )
    assert main(["reproduce", "table7", "--quick", "--output", str(tmp_path)]) == 0
    rows = read_table(tmp_path / "table7-quick")["rows"]
    assert list(rows) == list(MEASURED["table7"])
    assert all(len(row["values"]["psnr"]) == 2 for row in rows.values())
    assert steps == [5] * 4


@pytest.fixture
def photographs(tmp_path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("car.png", "tree.png"):
        (folder / name).write_bytes((data_path("load/inverse/examples") / name).read_bytes())
    return folder


@pytest.fixture
def local_networks(monkeypatch) -> None:
    """DINO and CLIP of the hub are those that ship; nothing is downloaded."""
    for name, folder in features.BUNDLED.items():
        monkeypatch.setitem(features.HUB_IDS, name, str(data_path(folder)))


@pytest.mark.slow
def test_another_prior_restores_the_users_images(tmp_path, photographs, local_networks, monkeypatch, capsys) -> None:
    pytest.importorskip("deepinv")
    prior = tiny_stable_diffusion(tmp_path / "tiny")
    options = ["--prior", prior, "--images", str(photographs), "-n", "2", "--output", str(tmp_path / "out")]
    assert main(["reproduce", "table1", *options, "--steps", "2"]) == 0
    record = read_table(tmp_path / "out" / "table1")
    assert list(record["rows"]) == list(MEASURED["table1"])[:5]
    assert record["floor_frechet"] is None
    assert "Left out: lpips: its weights" in capsys.readouterr().out
    for label, row in record["rows"].items():
        assert row["values"].keys() >= {"psnr", "ssim", "diversity_dino", "diversity_clip"}
        assert not row["values"].keys() & {"class_accuracy", "colors"}
        assert all(len(values) == 2 for values in row["values"].values())
        assert row["frechet"] > 0
        assert row["made_with"]["prior"] == prior
        settings = {key: value for key, value in MEASURED["table1"][label].items() if key != "likelihood_step"}
        assert row["made_with"]["settings"] == settings
    monkeypatch.setattr(instruments, "load_inception", missing)
    assert main(["reproduce", "table7", *options, "--quick"]) == 0
    rows = read_table(tmp_path / "out" / "table7-quick")["rows"]
    assert {label: row["frechet"] for label, row in rows.items()} == {"PSLD": None, "RSD, gamma 0, D.2": None}
    assert "Left out: RED-diff, 1000 steps, DPS: they solve in pixel space" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "out" / "table7-quick")]) == 0


def test_a_prior_without_its_feature_network_stops_before_the_first_row(tmp_path, photographs, capsys) -> None:
    pytest.importorskip("deepinv")
    prior = tiny_stable_diffusion(tmp_path / "tiny")
    options = ["--prior", prior, "--images", str(photographs), "--output", str(tmp_path / "out")]
    assert main(["reproduce", "table1", *options]) == 2
    assert "dino" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("renders", [True, False])
def test_metrics_are_those_of_the_images(renders, few_references, photographs) -> None:
    if renders:
        scene = choose_scenes(3, 5)
        images, classes = render_scenes(scene), scene.object_class
    else:
        images, classes = torch.stack([read_image(file, 64, "") for file in sorted(photographs.iterdir())]), None
    noise = 0.05 * torch.randn(len(images), 2, *images.shape[1:])
    answers = (images[:, None] + noise).clamp(0, 1)
    operator = OperatorConfig()
    task = solver_tables.RestorationTask(operator, images, classes, None, n_particles=2, steps=1, seed=0)
    measured = task.instruments(True, "cpu").measure(solver_tables._image_set("a row", answers, task))
    values = {key: found.values for key, found in measured.items()}
    dino = load_features("dino", bundled=True)
    for index, (pair, image) in enumerate(zip(answers, images, strict=True)):
        assert values["psnr"][index] == pytest.approx(float(psnr(pair, image.expand_as(pair)).mean()), abs=1e-4)
        of_mean = psnr(pair.mean(0, keepdim=True), image[None])
        assert values["psnr_of_mean"][index] == pytest.approx(float(of_mean), abs=1e-4)
        assert values["diversity_dino"][index] == pytest.approx(float(diversity(dino(pair))), abs=1e-4)
    assert ("class_accuracy" in values) == renders


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table99"], "table99"),
        (["table1", "--images", "0"], "--images=0"),
        (["table1", "--images", "nowhere"], "--images='nowhere'"),
        (["table1", "-n", "0"], "n-particles"),
        (["table1", "--seed", "-1"], "--seed=-1"),
        (["table1", "--prior", "paper"], "--images FOLDER"),
        (["table1", "--prior", "org/model", "--images", "3"], "--images FOLDER"),
        (["table1", "--prior", "bundled-pixel", "--images", "."], "bundled-pixel"),
    ],
)
def test_impossible_arguments_are_named(arguments, message, capsys, tmp_path) -> None:
    output = [] if arguments == ["table99"] else ["--output", str(tmp_path / "out")]
    assert main(["reproduce", *arguments, *output]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_row_is_a_sentence(capsys, tmp_path) -> None:
    for name in ("table1", "calibration"):
        assert main(["reproduce", name, "--rows", "PSLDD", "--output", str(tmp_path)]) == 2
        assert "--rows='PSLDD' is unknown; accepted: PSLD, " in capsys.readouterr().err
