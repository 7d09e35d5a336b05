"""The paper's experiments as data: `load/paper/NAME.yaml` says what is run and what the paper found.

The key `kind` of a file says which class describes it: `runs` (`Experiment`, the default), `inverse` (`SolverTable`)
or `toy` (`ToyFigure`). `load/paper/shared` has the methods and lists of prompts that several files name.
`load/studies` has comparisons that the paper does not make, of kind `inverse` or `calibration` (`CalibrationStudy`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, first_line, one_of
from ..inverse import SolverConfig
from ..inverse.operators import OperatorConfig
from .experiment_files import BUNDLED, SHARED, read_file, read_settings

DEMO = "load/demo/text2image.yaml"
ROLES = ("method", "bound", "independent", "rival")


@dataclass
class PaperItem:
    """A figure or table of the paper.

    Attributes:
        title: number and subject.
        claim: result that the paper reports.
        needs: time and machine in words, under `bundled` and `gpu`.
    """

    title: str
    claim: str
    needs: dict[str, str]


@dataclass
class Variant:
    """Changes to an experiment or method on the bundled prior, or with --quick.

    Attributes:
        config: replaces the method's config.
        prompts: replace the experiment's prompts.
        seeds: replace the experiment's seeds.
        overrides: values by dotted key.
    """

    config: str | None = None
    prompts: list[str] | None = None
    seeds: list[int] | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass
class PaperMethod:
    """A config with overrides that several experiments use.

    Attributes:
        config: YAML file.
        overrides: values by dotted key.
        bundled: changes on the bundled prior.
        quick: changes with --quick.
    """

    config: str
    overrides: dict[str, Any] = field(default_factory=dict)
    bundled: Variant = field(default_factory=Variant)
    quick: Variant = field(default_factory=Variant)


@dataclass
class Setting:
    """One setting of an experiment, which is compared with the others.

    Attributes:
        label: name in tables and plots.
        method: name in methods.yaml.
        overrides: values by dotted key.
        curve: settings with the same name are joined by a line in plots, in the order of `position`.
        position: number that varies along the curve, such as gamma; shown beside the point.
        role: one of ROLES; `bound` is plain sampling.
        separate: run every particle by itself, with a seed of its own.
        paper: the paper's numbers, by metric.
    """

    label: str
    method: str
    overrides: dict[str, Any] = field(default_factory=dict)
    curve: str | None = None
    position: float | None = None
    role: str = "method"
    separate: bool = False
    paper: dict[str, float] = field(default_factory=dict)


@dataclass
class Experiment(PaperItem):
    """A figure or table that compares runs, in each of which all particles share a prompt.

    Attributes:
        prior: the paper's prior, for `--prior paper`.
        prompts: the paper's prompts, or some of them where not all are published.
        seeds: one run is made for each seed, prompt and setting.
        settings: what is compared.
        overrides: values by dotted key, for all settings.
        compared_curves: pairs of curves whose quality is compared at equal diversity.
        bundled: changes on the bundled prior.
        quick: changes with --quick.
    """

    prior: str
    prompts: list[str]
    seeds: list[int]
    settings: list[Setting]
    overrides: dict[str, Any] = field(default_factory=dict)
    compared_curves: list[list[str]] = field(default_factory=list)
    bundled: Variant = field(default_factory=Variant)
    quick: Variant = field(default_factory=Variant)

    def only(self, methods: Sequence[str]) -> "Experiment":
        """The experiment with the settings of these methods.

        Args:
            methods: names in methods.yaml.

        Raises:
            UserError: the experiment has no setting of a method.
        """
        for method in methods:
            one_of("--methods", method, tuple(dict.fromkeys(setting.method for setting in self.settings)))
        settings = [setting for setting in self.settings if setting.method in methods]
        curves = {setting.curve for setting in settings}
        pairs = [pair for pair in self.compared_curves if curves.issuperset(pair)]
        return replace(self, settings=settings, compared_curves=pairs)


@dataclass
class BundledSolverRow:
    """Changes to a row of a solver table on the bundled prior.

    Attributes:
        label: replaces the row's label.
        settings: fields of SolverConfig.
    """

    label: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class SolverRow:
    """One row of a solver table: a solver with its settings.

    Attributes:
        label: name in tables.
        settings: the paper's settings, fields of SolverConfig; the others are those of D.2.
        prior: bundled prior that the row runs on; a row on the bundled pixel prior is left out on other priors.
        bundled: changes on the bundled prior.
        bundled_only: the row has settings of ours that only suit the bundled prior.
        paper: the paper's numbers, by metric.
    """

    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    prior: str = BUNDLED
    bundled: BundledSolverRow = field(default_factory=BundledSolverRow)
    bundled_only: bool = False
    paper: dict[str, float] = field(default_factory=dict)


@dataclass
class SolverVariant:
    """Changes to a solver table on the bundled prior, or with --quick.

    Attributes:
        images: number of images.
        settings: fields of SolverConfig, for all rows.
    """

    images: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def rows_of(labels: Collection[str] | None, rows: list[SolverRow]) -> list[SolverRow]:
    """The rows of a table that have the given labels; all, if `labels` is None.

    Raises:
        UserError: an unknown label.
    """
    if labels is None:
        return rows
    for label in labels:
        one_of("--rows", label, tuple(row.label for row in rows))
    return [row for row in rows if row.label in labels]


@dataclass
class SolverTable(PaperItem):
    """A figure or table that compares solvers of an inverse problem.

    Attributes:
        prior: the paper's prior, for `--prior paper`.
        operator: forward operator and noise of the measurements.
        settings: fields of SolverConfig, for all rows that do not set them.
        rows: the solvers.
        bundled: changes on the bundled prior.
        quick: changes with --quick.
    """

    prior: str
    operator: OperatorConfig
    settings: dict[str, Any]
    rows: list[SolverRow]
    bundled: SolverVariant
    quick: SolverVariant

    def choose_rows(self, prior: str) -> tuple[list[SolverRow], list[SolverRow]]:
        """Rows with their settings on a prior, and rows that are left out because they need a pixel prior."""
        if prior == BUNDLED:
            return [
                replace(row, label=row.bundled.label or row.label, settings={**row.settings, **row.bundled.settings})
                for row in self.rows
            ], []
        rows = [row for row in self.rows if not row.bundled_only]
        return (
            [replace(row, prior=prior) for row in rows if row.prior == BUNDLED],
            [row for row in rows if row.prior != BUNDLED],
        )


@dataclass
class ToyVariant:
    """Changes to the toy figure with --quick.

    Attributes:
        realizations: replaces the figure's number.
    """

    realizations: int = 10


@dataclass
class ToyFigure(PaperItem):
    """The figure of the two-dimensional toy problem.

    Attributes:
        realizations: number of repetitions of every setting.
        quick: changes with --quick.
    """

    realizations: int
    quick: ToyVariant = field(default_factory=ToyVariant)


def read_experiment(name: str) -> Experiment:
    """Experiment of kind `runs`, with its lists of prompts filled in.

    Args:
        name: figure or table, such as `fig3`.

    Raises:
        UserError: unknown name, or a file with unknown or missing keys.
    """
    content = _without_kind(name)
    lists = read_file(f"{SHARED}/prompts.yaml")
    for section in (content, *(content[key] for key in ("bundled", "quick") if key in content)):
        if isinstance(section.get("prompts"), str):
            one_of(f"{name}: prompts", section["prompts"], tuple(lists))
            section["prompts"] = lists[section["prompts"]]
    return parse(Experiment, content, name)


def read_demo() -> Experiment:
    """Comparison of `rsd demo`.

    Raises:
        UserError: its file has unknown or missing keys.
    """
    experiment: Experiment = parse(Experiment, read_file(DEMO), "demo")
    return experiment


def read_solver_table(name: str) -> SolverTable:
    """Table or figure of kind `inverse`.

    Args:
        name: figure or table, such as `table1`.

    Raises:
        UserError: unknown name, or a file with unknown or missing keys.
    """
    table: SolverTable = parse(SolverTable, _without_kind(name), name)
    for row in table.rows:
        for settings in (row.settings, {**row.settings, **row.bundled.settings}):
            parse(SolverConfig, {**table.settings, **settings}, f"{name}: {row.label}")
    return table


def read_toy_figure(name: str) -> ToyFigure:
    """Figure of kind `toy`.

    Args:
        name: figure, such as `fig9`.

    Raises:
        UserError: unknown name, or a file with unknown or missing keys.
    """
    return parse(ToyFigure, _without_kind(name), name)


def read_methods() -> dict[str, PaperMethod]:
    """All methods of methods.yaml by name."""
    return {name: parse(PaperMethod, fields, name) for name, fields in read_file(f"{SHARED}/methods.yaml").items()}


def parse(kind: type, content: dict[str, Any], name: str) -> Any:
    """Dataclass from the content of a file.

    Args:
        kind: dataclass.
        content: values of its fields.
        name: name of the file or entry, for the error message.

    Raises:
        UserError: a key is unknown or missing.
    """
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.create(_escaped(content))))
    except OmegaConfBaseException as error:
        raise UserError(f"{name}: {first_line(error)}; accepted: the fields of {kind.__name__}.") from error


def _without_kind(name: str) -> dict[str, Any]:
    content = read_settings(name)
    content.pop("kind")
    return content


def _escaped(content: Any) -> Any:
    """Content with its interpolations escaped: they belong to the config that a value goes into."""
    if isinstance(content, dict):
        return {key: _escaped(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_escaped(value) for value in content]
    return content.replace("${", "\\${") if isinstance(content, str) else content
