"""The paper's experiments as data: `load/paper/NAME.yaml` says what is run and what the paper found, see `Experiment`.

`load/paper/shared` has the methods and lists of prompts that several of them name.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, first_line, one_of
from ..files import data_path

FOLDER = "load/paper"
SHARED = f"{FOLDER}/shared"
ROLES = ("method", "bound", "independent", "rival")
KINDS = ("runs", "inverse", "toy")
PAPER_PRIOR, BUNDLED = "paper", "bundled"  # values of --prior


@dataclass
class Variant:
    """What differs on the bundled prior, or with --quick.

    Attributes:
        config: in place of the usual one.
        prompts: in place of the usual ones.
        seeds: in place of the usual ones.
        settings: values by dotted key.
    """

    config: str | None = None
    prompts: list[str] | None = None
    seeds: list[int] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Method:
    """A config with settings that several experiments use.

    Attributes:
        config: YAML file.
        settings: values by dotted key.
        bundled: on the bundled prior.
        quick: with --quick.
    """

    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    bundled: Variant = field(default_factory=Variant)
    quick: Variant = field(default_factory=Variant)


@dataclass
class Arm:
    """One setting that is compared with others.

    Attributes:
        label: for people.
        method: name in methods.yaml.
        settings: values by dotted key.
        curve: arms of one name are joined in plots, in the order of `position`.
        position: such as gamma, shown beside the point.
        role: of ROLES; the bound is plain sampling.
        separate: run every particle by itself, with a seed of its own.
        paper: what the paper found, by metric.
    """

    label: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    curve: str | None = None
    position: float | None = None
    role: str = "method"
    separate: bool = False
    paper: dict[str, float] = field(default_factory=dict)


@dataclass
class Experiment:
    """A figure or table of the paper that is a comparison of runs, in each of which particles share a prompt.

    Attributes:
        title: what it is.
        claim: what the paper says that it shows.
        needs: what a reader must have: `bundled` and `gpu`, time and machine in words.
        prior: of the paper, for `--prior paper`.
        prompts: of the paper; where they did not ship, some of them.
        seeds: one run for each, prompt and arm.
        settings: of all arms, values by dotted key.
        arms: what is compared.
        compared_curves: pairs of curves, whose quality is compared where they are equally diverse.
        bundled: on the bundled prior.
        quick: with --quick.
    """

    title: str
    claim: str
    needs: dict[str, str]
    prior: str
    prompts: list[str]
    seeds: list[int]
    arms: list[Arm]
    settings: dict[str, Any] = field(default_factory=dict)
    compared_curves: list[list[str]] = field(default_factory=list)
    bundled: Variant = field(default_factory=Variant)
    quick: Variant = field(default_factory=Variant)


def list_experiments() -> list[str]:
    """Names of all figures and tables, figures first, by number."""
    names = [path.stem for path in data_path(FOLDER).glob("*.yaml")]
    return sorted(names, key=lambda name: (name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))))


def read_settings(name: str) -> dict[str, Any]:
    """Content of the file of a figure or table; `kind` is there, `runs` where the file is silent.

    Raises:
        UserError: an unknown name.
    """
    one_of("NAME", name, tuple(list_experiments()))
    content = _read(f"{FOLDER}/{name}.yaml")
    kind = content.setdefault("kind", KINDS[0])
    one_of(f"{name}: kind", kind, KINDS)
    return content


def read_experiment(name: str) -> Experiment:
    """An experiment of kind `runs`.

    Raises:
        UserError: an unknown name, or a file that is not understood.
    """
    content = read_settings(name)
    content.pop("kind")
    lists = _read(f"{SHARED}/prompts.yaml")
    for section in (content, *(content[key] for key in ("bundled", "quick") if key in content)):
        if isinstance(section.get("prompts"), str):
            one_of(f"{name}: prompts", section["prompts"], tuple(lists))
            section["prompts"] = lists[section["prompts"]]
    return parse(Experiment, content, name)


def read_methods() -> dict[str, Method]:
    """Every method by name."""
    return {name: parse(Method, fields, name) for name, fields in _read(f"{SHARED}/methods.yaml").items()}


def parse(kind: type, content: dict[str, Any], name: str) -> Any:
    """A dataclass from the content of a file.

    Raises:
        UserError: an unknown key, or one that is missing.
    """
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.create(_escaped(content))))
    except OmegaConfBaseException as error:
        raise UserError(f"{name}: {first_line(error)}; accepted: the fields of {kind.__name__}.") from error


def _read(file: str) -> dict[str, Any]:
    return yaml.safe_load(data_path(file).read_text(encoding="utf-8"))


def _escaped(content: Any) -> Any:
    """Interpolations are those of the config that a value goes into: they must arrive there as they are."""
    if isinstance(content, dict):
        return {key: _escaped(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_escaped(value) for value in content]
    return content.replace("${", "\\${") if isinstance(content, str) else content
