"""Forms of the app become command lines that the config accepts, and impossible values are refused."""

import json
from pathlib import Path

import pytest
from threestudio_rsd.app import AnswersForm, ImagesForm, ObjectsForm, launch_command
from threestudio_rsd.app.commands import IMAGE_METHODS, OBJECT_METHODS, OPERATORS, PAINTED, SOLVERS
from threestudio_rsd.errors import UserError
from threestudio_rsd.runs.launching import find_config

from tests.config_values import value

IMAGE = Path("image.png")
FORMS = [
    *(ImagesForm(method=method) for method in IMAGE_METHODS),
    *(ObjectsForm(method=method) for method in OBJECT_METHODS),
    *(AnswersForm(IMAGE, solver=solver) for solver in SOLVERS),
    *(AnswersForm(IMAGE, operator, Path("mask.png")) for operator in OPERATORS),
]


def overrides(command: list[str]) -> dict[str, str]:
    return dict(argument.split("=", 1) for argument in command if "=" in argument)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_key_is_one_of_its_config(form, tmp_path: Path) -> None:
    command = launch_command(form, tmp_path / "images" / "one")
    config = Path(find_config(command[command.index("--config") + 1]))
    keys = overrides(command)
    for key in keys:
        if not key.startswith(("trainer.", "exp_root_dir", "name", "tag", "use_timestamp", "seed")):
            value(config, key)
    assert (json.loads(keys["name"]), json.loads(keys["tag"])) == ("images", "one")
    assert json.loads(keys["exp_root_dir"]) == str(tmp_path)


def test_a_prompt_stays_one_text(tmp_path: Path) -> None:
    prompt = 'a "red" mushroom, ${oc.env:HOME}=1'
    command = launch_command(ImagesForm(prompt), tmp_path / "images" / "one")
    assert json.loads(overrides(command)["system.prompt_processor.prompt"]) == prompt


def test_a_painted_mask_is_passed_on(tmp_path: Path) -> None:
    keys = overrides(launch_command(AnswersForm(IMAGE, PAINTED, Path("mask.png")), tmp_path / "answers" / "one"))
    assert json.loads(keys["data.operator.name"]) == "mask"
    assert json.loads(keys["data.operator.mask_path"]) == "mask.png"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (ImagesForm(n_particles=0), "number of particles=0"),
        (ImagesForm(steps=0), "steps=0"),
        (ImagesForm(method="magic"), "method='magic'.*fixed noise"),
        (ImagesForm(method="sampling", gamma=2.0), "gamma=2 has no effect with sampling"),
        (AnswersForm(), "There is no image"),
        (AnswersForm(IMAGE, PAINTED), "Nothing is painted"),
        (AnswersForm(IMAGE, solver="PSLD", gamma=1.0), "gamma=1 has no effect with PSLD"),
        (AnswersForm(IMAGE, "phase"), "operator='phase'"),
    ],
)
def test_impossible_values_are_one_sentence(form, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        launch_command(form, tmp_path / "images" / "one")
