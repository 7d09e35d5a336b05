"""Configs, tags, schedules and prompts of the stand-in, beyond the contract test (tests/host/contract.py)."""

import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import C, PromptProcessor, find, load_config, parse_structured
from threestudio_rsd.standalone.utils.experiment import LONGEST, safe_tag

PROMPT_CONFIG = """
name: run
tag: "${rmspace:${system.prompt_processor.prompt},_}"
system: {prompt_processor: {prompt: "a hamburger"}}
"""


def with_prompt(prompt):
    cfg = load_config(PROMPT_CONFIG, from_string=True, cli_args=[f"system.prompt_processor.prompt={prompt}"])
    assert cfg.system.prompt_processor.prompt == prompt
    return cfg


@pytest.mark.parametrize(
    "prompt",
    [
        "a mushroom",
        "a fox: red, #1 {of} [many]",
        "123",
        "null and void",
        "true",
        "a = b",
        "'quoted'",
        "- dash",
        "蘑菇",
        "🍄",
        "x" * 5000,
    ],
)
def test_prompts_are_taken_as_they_are(prompt):
    cfg = with_prompt(prompt)
    assert "/" not in cfg.tag
    assert cfg.trial_dir.startswith(f"outputs/run/{cfg.tag}@")


def test_plain_prompt_gives_threestudios_tag():
    assert with_prompt("a red fox, sitting").tag == "a_red_fox,_sitting"


def test_tag_defaults_to_the_prompt():
    cfg = load_config("system: {prompt_processor: {prompt: a fox}}", from_string=True)
    assert cfg.tag == "a_fox"


def test_other_overrides_are_yaml():
    overrides = ["system.prompt_processor={prompt: a fox}", 'system.prompt_processor.negative_prompt="a: b"']
    cfg = load_config("tag: t", from_string=True, cli_args=overrides)
    assert cfg.system.prompt_processor == {"prompt": "a fox", "negative_prompt": "a: b"}


def test_number_as_prompt_in_a_file():
    assert load_config(PROMPT_CONFIG.replace('"a hamburger"', "7"), from_string=True).tag == "7"


@given(st.text())
def test_tag_is_a_safe_folder_name(text):
    tag = safe_tag(text)
    assert len(tag.encode()) <= LONGEST + 9
    assert not tag.startswith(".")
    assert not re.search(r"[/\\\0\s:*?\"<>|]", tag)
    assert safe_tag(text) == tag


@given(st.text(), st.text())
def test_different_texts_have_different_tags(one, other):
    if one.replace(" ", "_") != other.replace(" ", "_"):
        assert safe_tag(one) != safe_tag(other)


def test_later_files_win(tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\ntag: t\ntrainer: {max_steps: 1, precision: 32}\n")
    (tmp_path / "b.yaml").write_text("trainer: {max_steps: 2}\n")
    cfg = load_config(str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), cli_args=["name=c"])
    assert (cfg.name, cfg.trainer.max_steps, cfg.trainer.precision) == ("c", 2, 32)


def test_several_gpus_have_no_timestamp():
    assert load_config("{name: a, tag: t}", from_string=True, n_gpus=2).trial_dir == "outputs/a/t"


def test_trial_folder_needs_a_name():
    with pytest.raises(UserError, match="tag=''"):
        load_config("use_timestamp: false", from_string=True)


def test_error_names_the_whole_path():
    @dataclass
    class Inner:
        n: int = 1

    @dataclass
    class Outer:
        inner: dict = field(default_factory=dict)

    outer = parse_structured(Outer, load_config("system: {inner: {m: 1}}", from_string=True).system)
    with pytest.raises(UserError, match=r"^system\.inner\.m=1 is an unknown key; .*accepted: n\.$"):
        parse_structured(Inner, outer.inner)


@dataclass
class Types:
    number: int = 1
    rate: float = 1.0
    name: str = ""
    flag: bool = False
    numbers: list[int] | None = None
    part: dict = field(default_factory=dict)


@pytest.mark.parametrize(
    "value",
    [
        {"number": "x"},
        {"number": 1.5},
        {"number": None},
        {"number": [1]},
        {"number": {"a": 1}},
        {"rate": "fast"},
        {"rate": [1.0]},
        {"name": {"a": 1}},
        {"flag": "perhaps"},
        {"numbers": 3},
        {"numbers": ["x"]},
        {"part": 3},
        {"part": [1]},
    ],
)
def test_wrong_type(value):
    (key,) = value
    with pytest.raises(UserError, match=rf"^{key}.* has a wrong type; accepted: "):
        parse_structured(Types, value)


@pytest.mark.parametrize(
    "value",
    [
        "fast",
        None,
        True,
        float("nan"),
        float("inf"),
        [],
        [1],
        [1, 2],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 0],
        [9, 1, 2, 3],
        [0, "a", 1, 2],
        {"a": 1},
    ],
)
def test_impossible_schedule(value):
    with pytest.raises(UserError, match="Schedule"):
        C(value, 0, 0)


def test_plain_lists_and_tuples_are_schedules():
    assert C([0, 0.0, 10.0, 100], 0, 50) == C((0, 0.0, 10.0, 100), 0, 50) == 5.0


def test_unknown_interpolation():
    with pytest.raises(UserError, match="linear, exp"):
        C([0, 1, 2, 3], 0, 1, interpolation="cubic")
    with pytest.raises(UserError, match="above 0"):
        C([0, 0, 2, 3], 0, 1, interpolation="exp")


def test_unknown_name():
    with pytest.raises(UserError, match="did you mean toy-system"):
        find("toy-system2")
    with pytest.raises(UserError, match="toy-mixin"):
        find("toy-system:toy-mixin")


@pytest.mark.parametrize("prompt", ["", "  ", "lib:fox"])
def test_empty_and_library_prompts_are_refused(prompt):
    with pytest.raises(UserError, match="prompt="):
        PromptProcessor({"prompt": prompt})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_prompt_debiasing": True}, "use_prompt_debiasing=True"),
        ({"perp_neg_f_fs": [1.0, 2.0]}, "perp_neg_f_fs"),
    ],
)
def test_prompt_options_that_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        PromptProcessor({"prompt": "a fox", **config})
