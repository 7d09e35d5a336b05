"""The paper's inverse problems as data: which solvers are compared, with which settings on which prior."""

from dataclasses import dataclass, field, replace
from typing import Any

from ..inverse import SolverConfig
from ..inverse.operators import OperatorConfig
from .definitions import BUNDLED, parse, read_settings


@dataclass
class BundledRow:
    """What differs on the bundled prior.

    Attributes:
        label: in place of the usual one.
        settings: fields of SolverConfig.
    """

    label: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Row:
    """One solver with its settings.

    Attributes:
        label: for people.
        settings: of the paper, fields of SolverConfig; what is not named is as in D.2.
        prior: the bundled prior that it runs on; one of pixels has no counterpart elsewhere.
        bundled: on the bundled prior.
        bundled_only: settings of ours, which are of no use elsewhere.
        paper: its numbers in the paper, by heading.
    """

    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    prior: str = BUNDLED
    bundled: BundledRow = field(default_factory=BundledRow)
    bundled_only: bool = False
    paper: dict[str, float] = field(default_factory=dict)


@dataclass
class Scope:
    """How much is done: on the bundled prior, or with --quick.

    Attributes:
        images: how many.
        settings: fields of SolverConfig, of all rows.
    """

    images: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Comparison:
    """A table or figure of the paper.

    Attributes:
        title: what it is.
        claim: what the paper says that it shows.
        needs: what a reader must have: `bundled` and `gpu`, time and machine in words.
        prior: of the paper, for `--prior paper`.
        operator: of the measurement.
        settings: of all rows that do not name their own.
        rows: solvers.
        bundled: on the bundled prior.
        quick: with --quick.
    """

    title: str
    claim: str
    needs: dict[str, str]
    prior: str
    operator: OperatorConfig
    settings: dict[str, Any]
    rows: list[Row]
    bundled: Scope
    quick: Scope


def read_comparison(name: str) -> Comparison:
    """An experiment of kind `inverse`.

    Raises:
        UserError: an unknown name, or a file that is not understood.
    """
    content = read_settings(name)
    content.pop("kind")
    comparison: Comparison = parse(Comparison, content, name)
    for row in comparison.rows:
        for settings in (row.settings, {**row.settings, **row.bundled.settings}):
            parse(SolverConfig, {**comparison.settings, **settings}, f"{name}: {row.label}")
    return comparison


def choose_rows(comparison: Comparison, prior: str) -> tuple[list[Row], list[Row]]:
    """The rows with the settings that they have on a prior, and those that need a prior of pixels."""
    if prior == BUNDLED:
        return [
            replace(row, label=row.bundled.label or row.label, settings={**row.settings, **row.bundled.settings})
            for row in comparison.rows
        ], []
    rows = [row for row in comparison.rows if not row.bundled_only]
    return (
        [replace(row, prior=prior) for row in rows if row.prior == BUNDLED],
        [row for row in rows if row.prior != BUNDLED],
    )
