"""What a report shows: settings that are compared, and for each prompt and seed what they gave."""

import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..metrics.statistics import Estimate, estimate
from ..reproduce.definitions import ROLES
from ..runs.grid import GAMMA_KEYS, format_value
from ..runs.run import UNCOMPARED_KEYS
from ..runs.trial import DIVERSITY, Curve, flatten

ALL_GAMMA_KEYS = (*GAMMA_KEYS, "gamma")  # a solver of a table has it by itself
GUIDE_KEYS = ("system.guidance.features", "system.features")
SAMPLING = "ancestral-sampling-system"  # plain sampling of the prior: the bound of every comparison
HIGHER, LOWER = "higher", "lower"


@dataclass(frozen=True)
class Metric:
    """Name for people, and which way is better: HIGHER, LOWER or nothing."""

    name: str
    better: str = ""


# By dotted key of metrics.json: the key in a study, and the metric.
MEASURED = {
    "classes_correct": ("class_accuracy", Metric("class accuracy", HIGHER)),
    "class_accuracy": ("class_accuracy", Metric("class accuracy", HIGHER)),
    "view_accuracy": ("view_accuracy", Metric("view accuracy", HIGHER)),
    "consistent": ("consistent", Metric("class kept", HIGHER)),
    "colors": ("colors", Metric("colors", HIGHER)),
    "psnr.mean": ("psnr", Metric("PSNR, dB", HIGHER)),
    "ssim.mean": ("ssim", Metric("SSIM", HIGHER)),
    "lpips.mean": ("lpips", Metric("LPIPS", LOWER)),
    "residual": ("residual", Metric("residual", LOWER)),
    "seconds_per_step": ("seconds_per_step", Metric("seconds per step", LOWER)),
}
OF_NETWORKS = {"diversity": "diversity", "vendi": "Vendi score"}  # metrics with a number for each feature network


@dataclass
class Case:
    """One prompt and seed of an arm.

    Attributes:
        prompt: empty where there is none.
        seed: None where it is not known.
        images: grid or contact sheet, of the same run; of separate runs one each.
        videos: turntables.
        values: figures of this case by metric.
        logs: `train/*` over the steps by name, of each run.
        commands: what each run was started with.
    """

    prompt: str = ""
    seed: int | None = None
    images: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    logs: list[dict[str, Curve]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int | None]:
        return self.prompt, self.seed


@dataclass
class Arm:
    """One setting that is compared with others.

    Attributes:
        label: for people.
        cases: what it gave.
        figures: over all cases, by metric.
        paper: what the paper found, by its own keys.
        role: of ROLES; the bound is plain sampling.
        curve: arms of one curve are joined in charts in the order of `position`.
        position: such as gamma.
        config: values by dotted key.
        config_text: the whole config as YAML.
    """

    label: str
    cases: list[Case] = field(default_factory=list)
    figures: dict[str, Estimate] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)
    role: str = ROLES[0]
    curve: str | None = None
    position: float | None = None
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""


@dataclass(frozen=True)
class Missing:
    """A case without a result, and why, where that is known."""

    arm: str
    prompt: str = ""
    seed: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Two curves where they are equally diverse.

    Attributes:
        curves: names.
        diversity, quality: metrics.
        shared: range of diversity in which they are compared.
        difference: quality of the first minus that of the second.
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
        title, claim, command: texts; the claim is the paper's.
        arms: what is compared, in order.
        metrics: of every key of the arms' figures.
        guide: feature network that guided the repulsion.
        prior, steps, particles: None or empty where they are not known or not common to all.
        missing: cases without a result.
        versions: of libraries, where the results say them.
        measured: when, in seconds since 1970.
        notes: further sentences.
        comparisons: of curves, where the results have some.
    """

    title: str
    arms: list[Arm]
    metrics: dict[str, Metric] = field(default_factory=dict)
    claim: str = ""
    command: str = ""
    guide: str = "dino"
    prior: str = ""
    steps: int | None = None
    particles: int | None = None
    missing: list[Missing] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    measured: float = 0.0
    notes: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def cases(self) -> list[tuple[str, int | None]]:
        """Every prompt and seed with a result, in order: prompts as they come, their seeds rising."""
        keys = [case.key for arm in self.arms for case in arm.cases]
        prompts = list(dict.fromkeys(prompt for prompt, _ in keys))
        return sorted(set(keys), key=lambda key: (prompts.index(key[0]), -1 if key[1] is None else key[1]))

    @property
    def networks(self) -> list[str]:
        """Feature networks whose diversity was measured, the one that guided the repulsion last."""
        found = [key.removeprefix(DIVERSITY) for key in self.metrics if key.startswith(DIVERSITY)]
        return sorted(found, key=lambda name: name == self.guide)


def read_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a metrics.json by the keys of a study; those of an inverse problem are under `mean`."""
    values = {}
    for key, value in flatten({**metrics, **(metrics.get("mean") or {})}).items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        first, _, network = key.partition(".")
        if key in MEASURED:
            values[MEASURED[key][0]] = float(value)
        elif first in OF_NETWORKS:
            values[f"{first}_{network}"] = float(value)
    return values


def name_metrics(arms: Sequence[Arm]) -> dict[str, Metric]:
    """Metrics of the keys in the arms' figures: diversity first, then as in MEASURED."""
    present = dict.fromkeys(key for arm in arms for key in arm.figures)
    named = dict(MEASURED.values())
    result = {}
    for prefix, name in OF_NETWORKS.items():
        for key in present:
            if key.startswith(f"{prefix}_"):
                result[key] = Metric(f"{name}, {network_name(key.removeprefix(f'{prefix}_'))}", HIGHER)
    return result | {key: metric for key, metric in named.items() if key in present}


def network_name(network: str) -> str:
    """A feature network as people write it."""
    return network.upper() if network in ("dino", "clip", "lpips") else network


def seed_name(seed: int | None) -> str:
    """A seed as people write it; nothing where it is not known."""
    return "" if seed is None else f"seed {seed}"


def summarize_cases(cases: Sequence[Case]) -> dict[str, Estimate]:
    """Mean of every value over the cases, with a bootstrap interval (95 %) where there are several."""
    figures = {}
    for key in dict.fromkeys(key for case in cases for key in case.values):
        figures[key] = summarize([case.values[key] for case in cases if key in case.values])
    return figures


def summarize(values: Sequence[float]) -> Estimate:
    """Mean of some values, with a bootstrap interval (95 %) where there are several."""
    return estimate(values)


def join_curves(arms: Sequence[Arm], settings: Sequence[Mapping[str, Any]], otherwise: str = "repulsion") -> None:
    """Name a curve for all arms that are alike but for gamma, and set their positions.

    Args:
        settings: of each arm, by dotted key.
        otherwise: name of a curve whose labels say nothing but gamma.
    """
    groups: dict[frozenset, list[tuple[Arm, float]]] = {}
    for arm, values in zip(arms, settings, strict=True):
        gamma = next((values[key] for key in ALL_GAMMA_KEYS if key in values), None)
        if not isinstance(gamma, int | float) or arm.role != ROLES[0]:
            continue
        left_out = (*ALL_GAMMA_KEYS, *UNCOMPARED_KEYS)
        alike = frozenset((key, format_value(value)) for key, value in values.items() if key not in left_out)
        groups.setdefault(alike, []).append((arm, float(gamma)))
    names: set[str] = set()
    for members in groups.values():
        if len({gamma for _, gamma in members}) < len(members) or len(members) < 2:
            continue
        labels = [arm.label for arm, _ in members]
        without = re.sub(r"[\s,_-]*\bgamma[\s=_-]*[\d.]+", "", labels[0])
        name = (without if without != labels[0] else os.path.commonprefix(labels)).strip(" ,_-") or otherwise
        name = labels[0] if name in names else name
        names.add(name)
        for arm, gamma in members:
            arm.curve, arm.position = name, gamma


def common(values: Sequence[Any]) -> Any:
    """The value that all have; None where they differ or there are none."""
    return values[0] if values and all(value == values[0] for value in values) else None


def setting(config: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """What a config has under the first of these keys that it has."""
    return next((config[key] for key in keys if config.get(key) is not None), None)
