"""The files `load/paper/NAME.yaml` and `load/studies/NAME.yaml` as plain values; imports no heavy library."""

from typing import Any

import yaml

from ..errors import one_of
from ..files import data_path

FOLDER, STUDIES = "load/paper", "load/studies"
SHARED = f"{FOLDER}/shared"
KINDS = ("runs", "inverse", "toy", "calibration")
PAPER_PRIOR, BUNDLED = "paper", "bundled"  # values of --prior
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is 6 times as fast, where PyYAML has it


def list_experiments() -> list[str]:
    """Names of all figures and tables, figures first, by number."""
    names = [path.stem for path in data_path(FOLDER).glob("*.yaml")]
    return sorted(names, key=lambda name: (name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))))


def list_studies() -> list[str]:
    """Names of the comparisons that the paper does not make."""
    return sorted(path.stem for path in data_path(STUDIES).glob("*.yaml"))


def read_settings(name: str) -> dict[str, Any]:
    """Content of the file of a figure, table or study, with the default of `kind` filled in.

    Args:
        name: figure or table, such as `fig3`, or study, such as `calibration`.

    Raises:
        UserError: unknown name or kind.
    """
    one_of("NAME", name, (*list_experiments(), *list_studies()))
    content = read_file(f"{STUDIES if name in list_studies() else FOLDER}/{name}.yaml")
    kind = content.setdefault("kind", KINDS[0])
    one_of(f"{name}: kind", kind, KINDS)
    return content


def read_file(file: str) -> dict[str, Any]:
    """Content of a shipped YAML file."""
    return yaml.load(data_path(file).read_text(encoding="utf-8"), Loader=LOADER)
