"""Data that a report shows: the compared settings, and the results of each for every prompt and seed."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..metrics.names import METRICS, SECTIONS, MetricInfo, metric_info
from ..metrics.statistics import Estimate, estimate
from ..reproduce.definitions import ROLES
from ..runs.grid import GAMMA_KEYS, format_value
from ..runs.run import UNCOMPARED_KEYS
from ..runs.trial import DIVERSITY, Curve

ALL_GAMMA_KEYS = (*GAMMA_KEYS, "gamma")  # plain `gamma` is the key of a solver in table.json


@dataclass(frozen=True)
class RestoredImage:
    """Image files of the N answers of one run to one measurement.

    Attributes:
        name: name of the image.
        measurement: measurement as an image; None where it is no image.
        truth: true image, None if there is no file.
        answers: image of each particle.
        mean: pixel-wise mean of the answers, None if there is no file.
        deviation: twice their pixel-wise standard deviation, None if there is no file.
    """

    name: str
    measurement: Path | None
    truth: Path | None
    answers: list[Path]
    mean: Path | None
    deviation: Path | None


@dataclass
class CaseResult:
    """Result of a setting for one prompt and seed.

    Attributes:
        prompt: text prompt, empty where there is none.
        seed: None where it is unknown.
        content: what the images show, such as "8 particles".
        images: grid or contact sheet of the run; one for each of several separate runs.
        videos: turntables.
        restored: answers to inverse problems; they are shown in place of `images`.
        values: measured numbers by key of `metrics.names`.
        logs: for each run, the logged `train/*` values over the steps by name.
        commands: command line of each run.
    """

    prompt: str = ""
    seed: int | None = None
    content: str = ""
    images: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    restored: list[RestoredImage] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    logs: list[dict[str, Curve]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int | None]:
        """(prompt, seed)."""
        return self.prompt, self.seed


@dataclass
class SettingResult:
    """Results of one setting that is compared with others.

    Attributes:
        label: name in the page.
        cases: results, one for each prompt and seed.
        figures: mean over all cases by metric.
        paper: numbers of the paper by the paper's own keys.
        role: one of ROLES; a bound is plain sampling.
        curve: settings with the same curve are joined in charts in the order of `position`.
        position: place on the curve, such as gamma.
        config: config values by dotted key.
        config_text: the whole config as YAML.
    """

    label: str
    cases: list[CaseResult] = field(default_factory=list)
    figures: dict[str, Estimate] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)
    role: str = ROLES[0]
    curve: str | None = None
    position: float | None = None
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""

    @property
    def commands(self) -> list[str]:
        """Command lines of all runs."""
        return [command for case in self.cases for command in case.commands]


@dataclass(frozen=True)
class Missing:
    """A case without a result, with the reason where it is known."""

    setting: str
    prompt: str = ""
    seed: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class CurveComparison:
    """Difference in quality of two curves at equal diversity.

    Attributes:
        curves: names of both curves.
        diversity: metric of diversity.
        quality: metric of quality.
        shared: range of diversity in which both curves have points.
        difference: quality of the first curve minus that of the second.
    """

    curves: tuple[str, str]
    diversity: str
    quality: str
    shared: tuple[float, float]
    difference: Estimate


@dataclass
class Study:
    """Settings side by side.

    Attributes:
        title: heading of the page.
        settings: settings in order.
        claim: what the paper says that the experiment shows.
        note: sentence under the heading.
        command: command line that made the results.
        guide: feature network that guides the repulsion.
        prior: name of the prior; empty where it is unknown or differs.
        steps: number of steps; None where it is unknown or differs.
        particles: number of particles; None where it is unknown or differs.
        missing: cases without a result.
        versions: versions of libraries, where the results record them.
        measured: time of the results in seconds since 1970.
        remarks: further sentences.
        comparisons: curves at equal diversity.
    """

    title: str
    settings: list[SettingResult]
    claim: str = ""
    note: str = ""
    command: str = ""
    guide: str = "dino"
    prior: str = ""
    steps: int | None = None
    particles: int | None = None
    missing: list[Missing] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    measured: float = 0.0
    remarks: list[str] = field(default_factory=list)
    comparisons: list[CurveComparison] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, MetricInfo]:
        """Every measured metric in the order of `metrics.names`, diversity first; without similarity, 1 - diversity."""
        sections, names = list(SECTIONS), list(METRICS)
        keys = dict.fromkeys(key for setting in self.settings for key in setting.figures)
        found = {key: metric_info(key) for key in keys if not key.startswith("similarity_")}

        def place(key: str) -> tuple[int, int]:
            return sections.index(found[key].section), names.index(key) if key in names else -1

        return {key: found[key] for key in sorted(found, key=place)}

    @property
    def cases(self) -> list[tuple[str, int | None]]:
        """Every prompt and seed with a result: prompts in order of appearance, the seeds of each in rising order."""
        keys = [case.key for setting in self.settings for case in setting.cases]
        prompts = list(dict.fromkeys(prompt for prompt, _ in keys))
        return sorted(set(keys), key=lambda key: (prompts.index(key[0]), -1 if key[1] is None else key[1]))

    @property
    def networks(self) -> list[str]:
        """Feature networks whose diversity was measured, the one that guides the repulsion last."""
        found = [key.removeprefix(DIVERSITY) for key in self.metrics if key.startswith(DIVERSITY)]
        return sorted(found, key=lambda name: name == self.guide)

    @property
    def curves(self) -> list[str]:
        """Names of the curves, in order."""
        return list(dict.fromkeys(setting.curve for setting in self.settings if setting.curve))


def estimate_cases(cases: Sequence[CaseResult]) -> dict[str, Estimate]:
    """Mean of every metric over the cases, with its interval where there are several."""
    keys = dict.fromkeys(key for case in cases for key in case.values)
    return {key: estimate([case.values[key] for case in cases if key in case.values]) for key in keys}


def join_curves(
    settings: Sequence[SettingResult], overrides: Sequence[Mapping[str, Any]], otherwise: str = "repulsion"
) -> None:
    """Set `curve` and `position` of all settings that differ in gamma alone.

    Args:
        settings: settings to join; only those with the role `method` are.
        overrides: config values of each by dotted key.
        otherwise: name of a curve whose labels contain nothing but gamma.
    """
    groups: dict[frozenset, list[tuple[SettingResult, float]]] = {}
    for setting, values in zip(settings, overrides, strict=True):
        gamma = next((values[key] for key in ALL_GAMMA_KEYS if key in values), None)
        if not isinstance(gamma, int | float) or setting.role != ROLES[0]:
            continue
        left_out = (*ALL_GAMMA_KEYS, *UNCOMPARED_KEYS)
        alike = frozenset((key, format_value(value)) for key, value in values.items() if key not in left_out)
        groups.setdefault(alike, []).append((setting, float(gamma)))
    names: set[str] = set()
    for members in groups.values():
        if len({gamma for _, gamma in members}) < len(members) or len(members) < 2:
            continue
        labels = [setting.label for setting, _ in members]
        name = _curve_name(labels) or otherwise
        name = labels[0] if name in names else name
        names.add(name)
        for setting, gamma in members:
            setting.curve, setting.position = name, gamma


def _curve_name(labels: Sequence[str]) -> str:
    """The first label without its gamma, or the common beginning of all labels."""
    without = re.sub(r"[\s,_-]*\bgamma[\s=_-]*[\d.]+", "", labels[0])
    if without == labels[0]:
        same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*labels, strict=False))
        without = "".join(letters[0] for letters in same)
    return without.strip(" ,_-")


def seed_title(seed: int | None) -> str:
    """`seed 0`; empty where the seed is unknown."""
    return "" if seed is None else f"seed {seed}"


def count(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def join_texts(*texts: str) -> str:
    """Texts separated by commas, without the empty ones."""
    return ", ".join(text for text in texts if text)


def common(values: Iterable[Any]) -> Any:
    """The value that all have; None where they differ or there are none."""
    values = list(values)
    return values[0] if values and all(value == values[0] for value in values) else None


def first_value(config: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Value of the first of these keys that a config has."""
    return next((config[key] for key in keys if config.get(key) is not None), None)
