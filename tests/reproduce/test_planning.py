"""Planning of runs: their overrides and folders; runs that two experiments share have one folder."""

import json
from pathlib import Path

import pytest
from threestudio_rsd.errors import UserError
from threestudio_rsd.reproduce.definitions import (
    Experiment,
    PaperMethod,
    Setting,
    Variant,
    read_experiment,
    read_methods,
)
from threestudio_rsd.reproduce.planning import Choice, plan

GAMMA, SCALE = "system.guidance.gamma", "system.guidance.guidance_scale"
PROMPTS = ["a mushroom", "a car"]
METHOD = PaperMethod(
    "configs/text2image/sds.yaml",
    {"trainer.max_steps": 500, SCALE: 100},
    Variant(overrides={"trainer.max_steps": 60}),
    Variant(overrides={"trainer.max_steps": 20}),
)


def experiment(*settings: Setting, **fields) -> Experiment:
    bundled = Variant(prompts=PROMPTS, seeds=[0, 1])
    fields = {"needs": {}, "prior": "org/model", "prompts": ["a cat"], "seeds": [0], "bundled": bundled, **fields}
    return Experiment("A title", "A claim", settings=list(settings), **fields)


def planned(choice: Choice, tmp_path: Path, *settings: Setting, **fields):
    return plan(experiment(*settings, **fields), {"sds": METHOD}, choice, tmp_path)


def pipeline(folder: Path, name: str) -> str:
    """Folder of a diffusers pipeline with nothing but its index."""
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
    return str(folder)


def test_the_bundled_prior_has_prompts_seeds_and_settings_of_its_own(tmp_path) -> None:
    setting = Setting("a setting", "sds", {GAMMA: 10})
    other = pipeline(tmp_path / "other", "StableDiffusionPipeline")
    [case] = planned(Choice(other), tmp_path, setting)
    assert (case.prompt, case.seed) == ("a cat", 0)
    settings = case.runs[0].settings
    assert (settings["trainer.max_steps"], settings[SCALE], settings[GAMMA]) == (500, 100, 10)
    assert settings["system.guidance.pretrained_model_name_or_path"] == other
    [case] = planned(Choice("paper"), tmp_path, setting)
    assert case.runs[0].settings["system.guidance.pretrained_model_name_or_path"] == "org/model"

    cases = planned(Choice(), tmp_path, setting)
    assert [(case.prompt, case.seed) for case in cases] == [(prompt, seed) for seed in (0, 1) for prompt in PROMPTS]
    assert cases[0].runs[0].settings["trainer.max_steps"] == 60
    assert cases[0].runs[0].settings[SCALE] == 100
    [quick, _] = planned(Choice(quick=True), tmp_path, setting)
    assert quick.runs[0].settings["trainer.max_steps"] == 20
    [own] = planned(Choice(prompts=["a cup"], seeds=[7], overrides={SCALE: 3}), tmp_path, setting)
    assert (own.prompt, own.seed, own.runs[0].settings[SCALE]) == ("a cup", 7, 3)


def test_deep_floyd_moves_pixels(tmp_path) -> None:
    prior = pipeline(tmp_path / "floyd", "IFPipeline")
    [case] = planned(Choice(prior), tmp_path, Setting("a setting", "sds"))
    assert case.runs[0].settings["system.guidance.prior_type"] == "deep-floyd"
    assert case.runs[0].settings["system.particles.space"] == "pixel"
    with pytest.raises(UserError, match="no diffusers pipeline"):
        planned(Choice(str(tmp_path)), tmp_path, Setting("a setting", "sds"))


def test_the_same_work_has_one_folder(tmp_path) -> None:
    """Table 5 and Fig. 3 share runs; an override that equals the config changes nothing."""
    methods = read_methods()
    figure = {run.tag for case in plan(read_experiment("fig3"), methods, Choice(), tmp_path) for run in case.runs}
    table = {run.tag for case in plan(read_experiment("table5"), methods, Choice(), tmp_path) for run in case.runs}
    assert table < figure
    silent, explicit = planned(
        Choice(seeds=[0], prompts=["a cup"]), tmp_path, Setting("a", "sds"), Setting("b", "sds", {GAMMA: 20})
    )
    assert silent.runs[0].tag == explicit.runs[0].tag
    other, hidden = planned(
        Choice(seeds=[0], prompts=["a cup"]),
        tmp_path,
        Setting("a", "sds", {"system.optimizer.args.lr": 0.1}),
        Setting("b", "sds", {"system.optimizer.args.lr": 0.2}),
    )
    assert other.runs[0].tag != hidden.runs[0].tag


def test_separate_particles_have_seeds_of_their_own(tmp_path) -> None:
    setting = Setting("separate", "sds", {"system.particles.n_particles": 3}, separate=True)
    cases = planned(Choice(), tmp_path, setting)
    seeds = [run.settings["seed"] for case in cases if case.prompt == "a car" for run in case.runs]
    assert len(set(seeds)) == 6
    assert {run.settings["system.particles.n_particles"] for case in cases for run in case.runs} == {1}


def test_null_replaces_the_value_of_a_config(tmp_path) -> None:
    """A setting that removes a value must not be the same run as one that keeps it."""
    interval = "system.guidance.guidance_interval"
    flow = PaperMethod("configs/text2image/flow.yaml")
    settings = [Setting("interval", "flow"), Setting("everywhere", "flow", {interval: None})]
    kept, removed = plan(experiment(*settings, bundled=Variant(prompts=["a car"])), {"flow": flow}, Choice(), tmp_path)
    assert f"{interval}=null" in removed.runs[0].overrides()
    assert not [each for each in kept.runs[0].overrides() if each.startswith(interval)]
    assert kept.runs[0].folder != removed.runs[0].folder
