"""Overrides of the command line: text stays text, nothing is interpolated, `~` is the home folder."""

import dataclasses
import json
import typing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.systems.base_2d import ImageParticlesConfig
from threestudio_rsd.host import ExperimentConfig, load_config, parse_structured
from threestudio_rsd.inverse import SolverConfig
from threestudio_rsd.inverse.operators import OperatorConfig
from threestudio_rsd.runs.launching import register_modules
from threestudio_rsd.standalone.utils import registry
from threestudio_rsd.standalone.utils.overrides import PATHS, TEXTS

CONFIG = """
name: run
tag: "${rmspace:${system.prompt_processor.prompt},_}"
description: "${system.prompt_processor.prompt}"
system: {prompt_processor: {prompt: "a hamburger"}}
"""
PROMPT = "system.prompt_processor.prompt="
VALID = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
SYNTAX = st.text("${}\\\"':#[],&* a.~", max_size=12)  # dense in what YAML and OmegaConf give a meaning


def load(*overrides: str, config: str = CONFIG):
    return load_config(config, from_string=True, cli_args=list(overrides))


def is_quoted(text: str) -> bool:
    try:
        return isinstance(json.loads(text), str)
    except ValueError:
        return False


@settings(max_examples=30)
@given(st.one_of(VALID, SYNTAX))
@example("${oc.env:HOME}")
@example("costs \\${price}")
@example('"A" and "B"')
@example("~")
def test_any_prompt_arrives_as_it_was_typed(prompt: str) -> None:
    if prompt in ("", "null", "???") or is_quoted(prompt):
        return
    cfg = load(PROMPT + prompt)
    assert cfg.system.prompt_processor.prompt == cfg.description == prompt
    again = load(config=OmegaConf.to_yaml(cfg))  # as from configs/parsed.yaml
    assert again.system.prompt_processor.prompt == again.description == prompt


@settings(max_examples=30)
@given(st.one_of(VALID, SYNTAX))
def test_parse_structured_interpolates_nothing(text: str) -> None:
    assert parse_structured(SolverConfig, {"prompt": text}).prompt == text


def test_quotes_around_a_whole_text_are_those_of_yaml_and_json() -> None:
    assert load(PROMPT + '"a: \\"b\\""').system.prompt_processor.prompt == 'a: "b"'


def test_text_stays_text() -> None:
    cfg = load("name=1", "exp_root_dir=7", "tag=0012", "description=1e3", "resume=null")
    assert (cfg.name, cfg.exp_root_dir, cfg.tag, cfg.description, cfg.resume) == ("1", "7", "0012", "1e3", None)
    assert cfg.trial_dir.startswith("7/1/0012@")
    assert load(config="{name: 1, exp_root_dir: 7, tag: 5}").trial_dir.startswith("7/1/5@")


@pytest.mark.parametrize("override", ["seed=0012", "trainer.max_steps=010", "trainer.max_steps=1:30"])
def test_numbers_that_yaml_reads_otherwise_raise(override: str) -> None:
    with pytest.raises(UserError, match=r"not a plain number; accepted: decimal digits"):
        load(override)


def test_texts_that_look_like_numbers_stay_text() -> None:
    assert load("trainer.max_time=00:12:00:00", 'trainer.precision="0012"').trainer == {
        "max_time": "00:12:00:00",
        "precision": "0012",
    }


def test_only_threestudios_functions_are_available_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "leak")
    for text in ("${oc.env:SECRET}", "${oc.select:name}", "${oc.decode:1}"):
        with pytest.raises(UserError, match=r"Unsupported interpolation type oc\."):
            load(config=f'name: run\ntag: t\ndescription: "{text}"')
    assert load(config='tag: t\nseed: "${idiv:4,2}"').seed == 2
    assert OmegaConf.create({"a": "${oc.env:SECRET}"}).a == "leak"  # in configs of other programs


@pytest.mark.parametrize("key", ["exp_root_dir", "resume", "data.image_path", "system.weights"])
def test_home_folder_in_paths(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert OmegaConf.select(load(f"{key}=~/runs"), key) == "/home/somebody/runs"
    assert load(f"{PROMPT}~/runs").system.prompt_processor.prompt == "~/runs"
    assert load("exp_root_dir=~").trial_dir.startswith("/home/somebody/run/")


@pytest.mark.parametrize("text", ["a\0b", "caf\udce9", "\ud800"])
def test_text_that_no_file_can_hold_raises(text: str) -> None:
    with pytest.raises(UserError, match="is not valid text"):
        load(PROMPT + text)
    with pytest.raises(UserError, match="is not valid text"):
        load(PROMPT + json.dumps(text))


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 30, "-" + "9" * 4000])
def test_numbers_beyond_64_bits_raise(number: str) -> None:
    with pytest.raises(UserError) as error:
        load(f"seed={number}")
    assert len(str(error.value)) < 1000
    with pytest.raises(UserError):
        load(config=f"tag: t\nseed: {number}")


def text_fields(config: type) -> set[str]:
    """Fields whose type is text."""
    hints = typing.get_type_hints(config)
    return {field.name for field in dataclasses.fields(config) if hints[field.name] in (str, str | None)}


def test_every_text_key_of_a_registered_module_is_known() -> None:
    register_modules()
    found = [getattr(each, "Config", None) for name, each in registry._registered.items() if "toy" not in name]
    configs = [each for each in found if each is not None and dataclasses.is_dataclass(each)]
    configs += [ExperimentConfig, SolverConfig, OperatorConfig, ImageParticlesConfig]
    own = [each for each in configs if each.__module__.startswith("threestudio_rsd")]
    assert set().union(*map(text_fields, own)) == TEXTS
    others = {field.name for each in own for field in dataclasses.fields(each)} - TEXTS
    assert not others & TEXTS, "a name that is text in one class and a number in another"
    assert PATHS <= TEXTS


def test_paths_in_the_package_are_expanded_where_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image
    from threestudio_rsd.images.reading import list_images, open_image

    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    assert list_images("~", "image_path") == [tmp_path / "a.png"]
    assert open_image("~/a.png", "mask_path").size == (2, 2)
