"""Grids of settings: how many, how called, how read from a command line."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.errors import UserError
from threestudio_rsd.runs.grid import (
    LONGEST,
    expand_grid,
    format_value,
    make_tag,
    parse_axis,
    parse_seeds,
    parse_values,
    read_prompts,
    short_names,
)
from threestudio_rsd.standalone.utils.experiment import safe_tag

KEYS = st.lists(
    st.sampled_from(
        ["seed", "system.guidance.gamma", "system.prompt_processor.prompt", "trainer.max_steps", "a.gamma"]
    ),
    min_size=1,
    unique=True,
)
NUMBERS = st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])) | st.lists(NUMBERS)


@st.composite
def grids(draw):
    different = st.lists(VALUES, min_size=1, max_size=3, unique_by=format_value)
    return [(key, draw(different)) for key in draw(KEYS)]


@given(grids())
def test_a_grid_has_every_combination_once_with_a_tag_of_its_own(axes) -> None:
    runs = expand_grid(axes)
    assert len(runs) == math.prod(len(values) for _, values in axes)
    for key, values in axes:
        assert {format_value(run[key]) for run in runs} == {format_value(value) for value in values}
    assert runs == expand_grid(axes)
    assert len({make_tag(run).casefold() for run in runs}) == len(runs)


@given(grids())
def test_tags_are_what_the_launcher_keeps_as_it_is(axes) -> None:
    for settings in expand_grid(axes):
        tag = make_tag(settings)
        assert safe_tag(tag) == tag
        assert len(tag.encode()) <= LONGEST
        assert make_tag(dict(reversed(settings.items()))) == tag  # the order on the command line does not count


def test_a_tag_can_be_read() -> None:
    settings = {"seed": 0, "system.prompt_processor.prompt": "a red cup", "system.guidance.gamma": 10.0}
    assert re.fullmatch("gamma=10,seed=0,prompt=a_red_cup-[0-9a-f]{8}", make_tag(settings))
    assert short_names(["a.gamma", "b.gamma", "seed"]) == {"a.gamma": "a.gamma", "b.gamma": "b.gamma", "seed": "seed"}


@given(st.lists(VALUES.filter(lambda value: not isinstance(value, str | list)), min_size=1))
def test_values_are_read_as_they_are_written(values) -> None:
    text = ",".join(format_value(value) for value in values)
    assert parse_values(text, "--gamma") == values


def test_values_may_be_lists_and_texts_with_commas() -> None:
    assert parse_axis('system.x=[0,0,20,300],1e-3,"a, b",noisy') == (
        "system.x",
        [[0, 0, 20, 300], 0.001, "a, b", "noisy"],
    )


@pytest.mark.parametrize("text", ["", ",", "1,,2", "[1", "1],[2", ".nan", "a: b", "9" * 5000, "[" * 5000])
def test_impossible_values_name_the_option(text) -> None:
    with pytest.raises(UserError, match="--gamma="):
        parse_values(text, "--gamma")


@pytest.mark.parametrize(("text", "seeds"), [("0:3", [0, 1, 2]), ("4", [4]), ("0, 3", [0, 3])])
def test_seeds(text, seeds) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "5:5", "3:", "-1", "a", "0:1:2", "0.5", "9" * 5000, "0:" + "9" * 5000, "0:99999999999"]
)
def test_impossible_seeds_are_named(text) -> None:
    with pytest.raises(UserError, match="--seeds="):
        parse_seeds(text)


def test_prompts_are_the_lines_that_are_not_empty(tmp_path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text('a mushroom\n\n  a "red" house: #1 \n', encoding="utf-8")
    assert read_prompts(file) == ["a mushroom", 'a "red" house: #1']
    file.write_text("\n \n")
    with pytest.raises(UserError, match="is empty"):
        read_prompts(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([("seed", [0]), ("seed", [1])], "seed is given twice"),
        ([("a.b", [10, 10.0])], "a.b=10 is given twice"),
        ([("a.b", [])], "a.b has no values"),
    ],
)
def test_impossible_grids_are_one_sentence(axes, message) -> None:
    with pytest.raises(UserError, match=message):
        expand_grid(axes)
