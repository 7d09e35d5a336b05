"""`read_study` returns the results that the commands wrote."""

import functools
import json

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.metrics.statistics import estimate
from threestudio_rsd.report.readers import read_study
from threestudio_rsd.report.study import SettingResult, join_curves
from threestudio_rsd.reproduce import gaussian_toy
from threestudio_rsd.runs.trial import read_values

from tests.report.report_folders import add_config, add_turntable, make_reproduction, make_sweep, make_table, make_trial


def test_settings_of_a_sweep_are_its_settings_without_seed_and_prompt(tmp_path):
    study = read_study(make_sweep(tmp_path))
    assert [setting.label for setting in study.settings] == ["gamma 0", "gamma 10"]
    assert [len(setting.cases) for setting in study.settings] == [4, 4]
    assert study.cases == [("a car", 0), ("a car", 1), ("a <mushroom>", 0), ("a <mushroom>", 1)]
    assert [(setting.curve, setting.position) for setting in study.settings] == [("sds", 0.0), ("sds", 10.0)]
    assert (study.prior, study.steps, study.particles, study.guide) == ("bundled", 20, 2, "dino")
    assert study.networks == ["clip", "dino"], "the network that guided comes last"


def test_means_and_intervals_are_over_the_runs(tmp_path):
    study = read_study(make_sweep(tmp_path))
    figure = study.settings[1].figures["diversity_dino"]
    values = torch.tensor([case.values["diversity_dino"] for case in study.settings[1].cases], dtype=torch.double)
    assert figure.mean == pytest.approx(0.2 + 10 / 50 + 0.5 / 20)
    assert figure.interval == estimate(values).interval


def test_each_case_has_the_files_of_its_own_run(tmp_path):
    study = read_study(make_sweep(tmp_path))
    for gamma, setting in zip((0, 10), study.settings, strict=True):
        for case in setting.cases:
            assert f"gamma={gamma},seed={case.seed}" in str(case.images[0])
            assert f"gamma={gamma} seed={case.seed}" in case.commands[0]
            assert case.logs[0]["diversity_dino"][-1] == (19, pytest.approx(0.19 + gamma / 100))


def test_a_failed_run_of_a_sweep_is_missing_and_counts_nowhere(tmp_path):
    study = read_study(make_sweep(tmp_path, left_out=True))
    (missing,) = study.missing
    assert (missing.setting, missing.prompt, missing.seed, missing.error) == (
        "gamma 10",
        "a <mushroom>",
        1,
        "out of <memory>",
    )
    assert len(study.settings[1].cases) == 3


def test_reproduction(tmp_path):
    folder = tmp_path / "fig3"
    folder.mkdir()
    study = read_study(make_reproduction(folder))
    assert [setting.role for setting in study.settings] == ["method", "method", "bound", "independent"]
    assert len(study.settings[3].cases[0].images) == 2, "an image of each separate run"
    assert study.settings[0].figures["frechet"].interval is None
    assert "recall" not in study.metrics, "nobody measured it"
    assert study.settings[0].paper == {"diversity": 0.17, "aesthetic": 5.38}
    assert study.missing[0].error == "killed"


def test_reproduction_whose_runs_are_gone(tmp_path):
    folder = tmp_path / "fig3"
    folder.mkdir()
    make_reproduction(folder)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    study = read_study(folder)
    assert study.settings[0].cases[0].images == []
    assert study.settings[0].figures["clip_score"].mean == pytest.approx(0.3)


def test_table(tmp_path):
    study = read_study(make_table(tmp_path))
    assert [setting.role for setting in study.settings] == ["rival", "method", "method"]
    assert [(setting.curve, setting.position) for setting in study.settings] == [
        (None, None),
        ("RSD, ours", 0.0),
        ("RSD, ours", 10.0),
    ]
    assert study.settings[0].figures["psnr"].mean == pytest.approx(22.0)
    assert all(setting.cases[0].images[0].is_file() for setting in study.settings)


def test_folder_of_runs_lists_the_unfinished(tmp_path):
    for gamma in (5, 20):
        make_trial(tmp_path / "runs" / f"gamma-{gamma}@20260101-000000", gamma)
    add_config(tmp_path / "runs" / "gamma-40@20260101-000000", 40)
    study = read_study(tmp_path)
    assert [setting.label for setting in study.settings] == ["gamma-5", "gamma-20"]
    assert [(each.setting, each.error) for each in study.missing] == [("gamma-40", "has not finished")]
    assert [setting.position for setting in study.settings] == [5.0, 20.0]


def test_one_run_in_3d(tmp_path):
    make_trial(tmp_path / "run", 10)
    add_turntable(tmp_path / "run")
    study = read_study(tmp_path / "run")
    (case,) = study.settings[0].cases
    assert case.images[0].name == "it20-test-sheet.png"
    assert case.videos[0].name == "it20-test.mp4"
    assert study.command.startswith("rsd launch")


def test_values_of_an_inverse_problem_are_under_mean():
    values = read_values({"mean": {"psnr": 20.5, "diversity_clip": 0.1, "lpips": None}, "steps": 3})
    assert values == {"psnr": 20.5, "diversity_clip": 0.1}


def test_settings_that_differ_in_more_than_gamma_are_no_curve():
    settings = [SettingResult("a"), SettingResult("b"), SettingResult("c")]
    join_curves(settings, [{"gamma": 0, "x": 1}, {"gamma": 10, "x": 2}, {"gamma": [0, 0, 20, 300], "x": 1}])
    assert [setting.curve for setting in settings] == [None, None, None]


def unfinished(folder):
    add_config(folder / "run", 10)
    return folder / "run"


def cut_off(folder):
    (folder / "sweep.json").write_text('{"runs": [')
    return folder


def without_a_key(folder):
    (folder / "reproduction.json").write_text(json.dumps({"settings": []}))
    return folder


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "nothing", "is no folder"),
        (lambda folder: folder, "nothing that can be reported"),
        (unfinished, "has not finished"),
        (cut_off, "sweep.json' is damaged"),
        (without_a_key, "reproduction.json' is damaged"),
    ],
)
def test_what_cannot_be_reported(tmp_path, make, said):
    with pytest.raises(UserError, match=said):
        read_study(make(tmp_path))


@pytest.mark.slow
def test_toy_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(gaussian_toy, "simulate", functools.partial(gaussian_toy.simulate, steps=3))
    gaussian_toy.run(None, realizations=2, output=tmp_path, command="rsd toy")
    study = read_study(tmp_path)
    assert [case.images for case in study.settings[0].cases] == [[tmp_path / "toy.png"]]
    assert "gamma 2000: " in study.remarks[0]
    assert study.claim
