"""docs/paper.md names only existing things, covers the whole paper, and its settings equal those of the configs."""

import importlib
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
import yaml
from threestudio_rsd.reproduce.definitions import read_methods
from threestudio_rsd.reproduce.experiment_files import list_experiments

from tests.config_values import check_command, value

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "custom" / "threestudio_rsd"
PAGE = ROOT / "docs" / "paper.md"
CONFIGS = [
    ROOT / "configs" / name
    for name in (
        "text2image/paper-vsd-sd21.yaml",
        "text2image/paper-nfsd-sd21.yaml",
        "text2image/ancestral.yaml",
        "text2nerf/views-dreamfusion-if.yaml",
        "inverse/paper-half-box-sd15.yaml",
    )
]

if not PAGE.is_file():
    pytest.skip("an sdist has no docs", allow_module_level=True)
PROSE, *BLOCKS = re.split(r"```(?:bash)?\n", PAGE.read_text())
PROSE += "".join(BLOCKS[1::2])
COMMANDS = [line for block in BLOCKS[::2] for line in block.splitlines() if not line.startswith("#")]
COMMANDS += re.findall(r"`(rsd [^`]+)`", PROSE)


def find_path(name: str) -> Path | None:
    return next((base / name for base in (ROOT, PACKAGE) if (base / name).exists()), None)


def tokens() -> Iterator[tuple[str, Path | None, Path | None]]:
    """Texts in backticks, each with the code file before it in its line and the file in the section's heading."""
    heading: Path | None = None
    for line in PROSE.splitlines():
        if line.startswith("#"):
            heading = None
        code = heading
        for token in re.findall(r"`([^`]+)`", line):
            path = find_path(token)
            if path is not None:
                code = path
                if line.startswith("#"):
                    heading = path
            yield token, code, heading


def is_key(key: str) -> bool:
    """Test whether one of CONFIGS, or a class that reads it, has this key."""
    return any(has_value(config, key) for config in CONFIGS)


def has_value(config: Path, key: str) -> bool:
    """Test whether `value` finds a key."""
    try:
        value(config, key)
    except KeyError:
        return False
    return True


def test_names_in_backticks_exist() -> None:
    wrong = []
    for token, code, heading in tokens():
        setting = re.fullmatch(r"([a-z_.0-9]+): (.+)", token)
        constant = re.fullmatch(r"([A-Z_]+) = (.+)", token)
        override = re.fullmatch(r"([a-z_.0-9]+)=(.+)", token)
        if token.startswith(("rsd ", "pip ", "--")):
            continue  # commands have a test of their own
        if token.startswith("python "):
            right = (ROOT / token.split()[1]).is_file()
        elif setting and heading and heading.suffix == ".yaml":
            right = value(heading, setting[1]) == yaml.safe_load(setting[2])
        elif setting:
            right = is_key(setting[1])
        elif override:
            right = is_key(override[1])
        elif "/" in token or token.endswith((".md", ".py", ".yaml")):
            right = find_path(token) is not None
        else:
            assert code is not None, token
            module = importlib.import_module(
                ".".join(("threestudio_rsd", *code.relative_to(PACKAGE).with_suffix("").parts))
            )
            try:
                found = attrgetter(constant[1] if constant else token)(module)
                right = getattr(found, "__module__", module.__name__) == module.__name__
                right = right and (not constant or found == yaml.safe_load(constant[2]))
            except AttributeError:
                right = False
        if not right:
            wrong.append(token)
    assert not wrong


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str, capsys) -> None:
    check_command(command, capsys)


def test_all_named_experiments_are_listed() -> None:
    named = re.findall(r"rsd reproduce ([a-z]\w*)", PAGE.read_text())
    assert set(named) == set(list_experiments())


def test_settings_on_the_bundled_prior_equal_those_of_the_methods() -> None:
    [section] = [part for part in PROSE.split("\n### ") if part.startswith("Named experiments")]
    rows = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| ")][1:]
    found = {}
    for method, _, here in rows:
        settings = [token.split(": ", 1) for token in re.findall(r"`([^`]+)`", here)]
        found[method.strip()] = {key: yaml.safe_load(value) for key, value in settings}
    methods = read_methods().items()
    assert found == {name: method.bundled.overrides for name, method in methods if method.bundled.overrides}


def test_extras_exist() -> None:
    extras = ",".join(re.findall(r"pip install \.\[([\w,]+)\]", PAGE.read_text())).split(",")
    assert set(extras) <= set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))


def numbers(cells: str) -> set[int]:
    """(3), (5) to (7) -> 3, 5, 6, 7"""
    found = re.findall(r"\((\d+)\)(?: to \((\d+)\))?", cells)
    return {number for first, last in found for number in range(int(first), int(last or first) + 1)}


def test_the_page_covers_the_whole_paper() -> None:
    rows = [line.split("|")[1].strip() for line in PROSE.splitlines() if line.startswith("|")]
    sections = {part.split("\n")[0]: part for part in PROSE.split("\n## ")}
    equations, tables, figures = (
        [line.split("|")[1] for line in sections[name].splitlines() if line.startswith("|")]
        for name in ("Equations", "Tables", "Figures")
    )
    assert numbers(" ".join(equations)) == set(range(1, 40))
    assert {int(cell) for cell in tables if cell.strip().isdigit()} == set(range(1, 9))
    assert {int(number) for cell in figures for number in re.findall(r"\d+", cell)} == set(range(1, 24))
    for name in ("Alg. 1", "Alg. 2", "Prop. 1", "Prop. 2", "Property 1", "Lemma 1", "Theorem 1"):
        assert any(name in row for row in rows), name
