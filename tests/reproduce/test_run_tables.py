"""`rsd reproduce` for kind `runs`: metrics of made-up runs, and error messages."""

import json

import pytest
import torch
from omegaconf import OmegaConf
from threestudio_rsd.cli.main import run_command
from threestudio_rsd.errors import UserError
from threestudio_rsd.images.saving import save_image
from threestudio_rsd.metrics import diversity
from threestudio_rsd.reproduce import run_tables
from threestudio_rsd.reproduce.definitions import Experiment, PaperMethod, Setting, Variant
from threestudio_rsd.reproduce.planning import Choice, plan
from threestudio_rsd.reproduce.run_tables import Reproduction
from threestudio_rsd.repulsion import load_features
from threestudio_rsd.toyworld import render

GAMMA = "system.guidance.gamma"


def main(arguments: list[str]) -> int:
    return run_command(["reproduce", *arguments])


def write_run(run, colors) -> list[torch.Tensor]:
    """Write the files of a finished run, with renders of these colors."""
    object_class = run.settings["system.prompt_processor.prompt"].split()[-1]
    images = [render(object_class, color)[0] for color in colors]
    test = run.folder / "save" / "test"
    test.mkdir(parents=True)
    for index, image in enumerate(images):
        save_image(image, test / f"particle_{index:02d}.png")
    (run.folder / "configs").mkdir()
    parsed = {"system": {"guidance": {"pretrained_model_name_or_path": "bundled", "gamma": run.settings[GAMMA]}}}
    OmegaConf.save(OmegaConf.create(parsed), run.folder / "configs" / "parsed.yaml")
    metrics = {"prompt": run.settings["system.prompt_processor.prompt"], "colors": 1}
    (run.folder / "save" / "metrics.json").write_text(json.dumps(metrics))
    return images


@pytest.mark.slow
def test_metrics_are_those_of_the_images(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("threestudio_rsd.evaluation.instruments.REFERENCES", 20)
    together = Setting("gamma 10", "sds", {GAMMA: 10}, paper={"diversity": 0.3})
    separate = Setting(
        "separate", "sds", {GAMMA: 0, "system.particles.n_particles": 2}, separate=True, role="independent"
    )
    waiting = Setting("gamma 20", "sds", {GAMMA: 20})
    bundled = Variant(prompts=["a mushroom", "a car"], seeds=[0, 1])
    described = Experiment("A title", "", {}, "", ["a cat"], [0], [together, separate, waiting], bundled=bundled)
    cases = plan(described, {"sds": PaperMethod("configs/text2image/sds.yaml")}, Choice(), tmp_path)
    expected: dict[tuple, list[torch.Tensor]] = {}
    for case in cases:
        if case.setting is together:
            expected[case.prompt, case.seed] = write_run(case.runs[0], ["red", "green", "blue"])
        elif case.setting is separate:
            for run, color in zip(case.runs, ["red", "red"], strict=True):
                write_run(run, [color])
    made = Reproduction("fig0", described, cases, tmp_path / "fig0", "rsd reproduce fig0", "bundled", False)
    made.measure(run_tables.Panel(True, "bundled", "cpu"))

    record = json.loads((tmp_path / "fig0" / "reproduction.json").read_text())
    first, second, third = record["settings"]
    dino = load_features("dino", bundled=True)
    for run in first["runs"]:
        images = torch.stack(expected[run["prompt"], run["seed"]])
        assert run["values"]["diversity_dino"] == pytest.approx(float(diversity(dino(images))), abs=0.01)  # 8 bits
        assert (tmp_path / "fig0" / run["folders"][0] / "save" / "metrics.json").is_file()
    assert first["figures"]["colors"]["mean"] == 3
    assert first["figures"]["class_accuracy"]["mean"] == 1
    low, high = first["figures"]["diversity_dino"]["interval"]
    assert low <= first["figures"]["diversity_dino"]["mean"] <= high
    assert first["figures"]["frechet"]["mean"] > 0
    assert first["paper"] == {"diversity": 0.3}
    assert second["figures"]["colors"]["mean"] == 1
    assert second["figures"]["diversity_dino"]["mean"] == pytest.approx(0, abs=1e-5)
    assert [len(run["folders"]) for run in second["runs"]] == [2] * 4
    assert third["runs"] == []
    assert {entry["setting"] for entry in record["missing"]} == {"gamma 20"}


def test_an_error_if_no_run_has_finished(tmp_path) -> None:
    with pytest.raises(UserError, match="table5 has finished"):
        main(["table5", "--no-run", "--output", str(tmp_path)])


def test_the_list_has_time_and_machine(capsys) -> None:
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert "fig3" in printed
    assert "A100" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fig99"], "fig99"),
        (["fig3", "--set", "system.guidance.gamma=1,2"], "one value"),
        (["fig3", "--set", "tag=a"], "tag=a"),
        (["fig3", "--seeds", "a"], "--seeds"),
        (["fig3", "--workers", "0"], "--workers=0"),
        (["fig3", "--prompts", "none.txt"], "none.txt"),
    ],
)
def test_mistakes_are_one_sentence(arguments, message, tmp_path) -> None:
    with pytest.raises(UserError, match=message):
        main([*arguments, "--output", str(tmp_path / "out")] if len(arguments) > 1 else arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_table_from_nothing(tmp_path, capsys) -> None:
    assert (
        main(["table5", "--quick", "--methods", "vsd", "--set", "trainer.max_steps=2", "--output", str(tmp_path)]) == 0
    )
    assert "gamma 10" in capsys.readouterr().out
    record = json.loads((tmp_path / "table5-quick" / "reproduction.json").read_text())
    assert [len(setting["runs"]) for setting in record["settings"]] == [2, 2]
    assert not record["missing"]
    assert (tmp_path / "table5-quick" / "report.html").is_file()
