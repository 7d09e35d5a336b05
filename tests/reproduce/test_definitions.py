"""Definitions of the paper's experiments: every file can be read, and every run can be built."""

from pathlib import Path

import pytest
from threestudio_rsd.errors import UserError
from threestudio_rsd.reproduce.definitions import (
    ROLES,
    Experiment,
    parse,
    read_demo,
    read_experiment,
    read_methods,
)
from threestudio_rsd.reproduce.experiment_files import list_experiments, read_settings
from threestudio_rsd.reproduce.planning import Choice, plan
from threestudio_rsd.runs.launching import register_modules
from threestudio_rsd.standalone.engine.launch import prepare
from threestudio_rsd.toyworld.world import CLASSES

RUNS = [name for name in list_experiments() if read_settings(name)["kind"] == "runs"]
ASKED_FOR = (
    "fig2 fig3 fig4 fig5 fig6 fig7 fig8 fig9 fig11 fig14 fig17 fig18 "
    "table1 table2 table3 table4 table5 table6 table7 table8"
)


def test_figures_come_first_by_number() -> None:
    names = list_experiments()
    assert set(ASKED_FOR.split()) <= set(names)
    assert names.index("fig3") < names.index("fig11") < names.index("table1")


@pytest.mark.parametrize("name", RUNS)
def test_experiments_can_be_read(name) -> None:
    experiment, methods = read_experiment(name), read_methods()
    assert {"bundled", "gpu"} == experiment.needs.keys()
    assert len({setting.label for setting in experiment.settings}) == len(experiment.settings)
    for setting in experiment.settings:
        assert setting.method in methods
        assert setting.role in ROLES
        assert (setting.curve is None) == (setting.position is None)
    assert any(any(word in prompt for word in CLASSES) for prompt in experiment.bundled.prompts or [])


@pytest.mark.parametrize("name", ["fig3", "fig11", "table2", "table3", "table4", "table5", "table6"])
def test_tables_use_all_classes_and_four_seeds(name) -> None:
    experiment = read_experiment(name)
    assert len(experiment.bundled.prompts or []) == len(CLASSES)
    assert len(experiment.bundled.seeds or []) == 4


@pytest.mark.slow
def test_every_run_on_the_bundled_prior_can_be_built(tmp_path) -> None:
    register_modules()
    seen = set()
    for name in RUNS:
        for case in plan(read_experiment(name), read_methods(), Choice(), tmp_path):
            run = case.runs[0]
            if "lpips" in str(run.settings):
                continue  # its weights do not ship
            kind = (run.config, frozenset(run.settings), run.settings.get("system.guidance.features"))
            if kind not in seen:
                seen.add(kind)
                prepare(run.config, "train", run.overrides())
    assert len(seen) > 8
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "word"),
    [({"clam": "a typing mistake"}, "clam"), ({"settings": [{"label": "a", "methd": "vsd"}]}, "methd"), ({}, "title")],
)
def test_mistakes_in_a_file_name_the_key(change, word) -> None:
    content = {"claim": "", "needs": {}, "prior": "", "prompts": ["a"], "seeds": [0], "settings": []}
    with pytest.raises(UserError, match=f"table9: .*{word}"):
        parse(Experiment, {**content, **change}, "table9")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"fig99.*fig3.*table6"):
        read_settings("fig99")


def test_configs_of_methods_ship() -> None:
    for method in read_methods().values():
        for config in filter(None, (method.config, method.bundled.config)):
            assert (Path(__file__).parents[2] / config).is_file()


def test_an_experiment_of_some_methods_keeps_their_settings_and_comparisons() -> None:
    whole = read_experiment("fig3")
    part = whole.only(["sds-descending", "vsd"])
    assert {setting.method for setting in part.settings} == {"sds-descending", "vsd"}
    assert ["SDS ours, gamma", "VSD, gamma"] in part.compared_curves
    assert len(part.compared_curves) < len(whole.compared_curves)
    with pytest.raises(UserError, match=r"--methods='svgd'.*vsd"):
        whole.only(["svgd"])


def test_the_demo_has_the_methods_of_its_page() -> None:
    assert [setting.method for setting in read_demo().settings] == [
        "sds-descending",
        "sds-descending",
        "flow",
        "ancestral",
    ]
