"""Planning of an experiment's runs: which runs, with which overrides, in which folders."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..files import data_path
from ..priors.pipelines import is_bundled, pipeline_type
from ..runs.grid import PRIOR_KEYS, PROMPT_KEYS, SEED_KEY
from ..runs.run import Run
from .definitions import Experiment, PaperMethod, Setting
from .experiment_files import PAPER_PRIOR

SPACE_KEY = "system.particles.space"
PARTICLE_KEYS = ("system.particles.n_particles", "system.geometry.n_particles")
SHOWN_KEYS = (  # in the names of folders
    "system.guidance.gamma",
    "system.guidance.guidance_scale",
    "system.guidance_scale",
    "system.strength",
    "system.guidance.entropy_weight",
    "system.guidance.features",
    "trainer.max_steps",
    *PARTICLE_KEYS,
    *PROMPT_KEYS,
    SEED_KEY,
)
SEPARATE_SEEDS = 1000  # seeds of single particles: SEPARATE_SEEDS * (seed + 1) + particle


@dataclass(frozen=True)
class PlannedCase:
    """One setting with one prompt and seed.

    Attributes:
        setting: what is compared with other settings.
        prompt: prompt of all particles.
        seed: seed of the case.
        runs: one run, or one for each particle where the setting runs them separately.
    """

    setting: Setting
    prompt: str
    seed: int
    runs: list[Run]


@dataclass
class Choice:
    """Choices of the user.

    Attributes:
        prior: name for `load_prior`, or `paper`.
        quick: few prompts, seeds and steps.
        prompts: replace the experiment's prompts.
        seeds: replace the experiment's seeds.
        overrides: values by dotted key, for all settings.
    """

    prior: str = "bundled"
    quick: bool = False
    prompts: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    overrides: Mapping[str, Any] | None = None


def plan(experiment: Experiment, methods: Mapping[str, PaperMethod], choice: Choice, output: Path) -> list[PlannedCase]:
    """All cases of an experiment; seeds vary slowest: an interrupted experiment has all settings for its first seeds.

    Args:
        experiment: figure or table.
        methods: methods by name, see `read_methods`.
        choice: choices of the user.
        output: folder of the runs. Experiments share it, so that a run of several of them is made once.
    """
    variants = [experiment.bundled] if is_bundled(choice.prior) else []
    variants += [experiment.quick] if choice.quick else []
    prompts, seeds = list(experiment.prompts), list(experiment.seeds)
    for variant in variants:
        prompts, seeds = variant.prompts or prompts, variant.seeds or seeds
    if choice.quick:
        prompts, seeds = prompts[:2], seeds[:1]
    prompts, seeds = list(choice.prompts or prompts), list(choice.seeds or seeds)
    settings = [(each, *_overrides(experiment, methods[each.method], each, choice)) for each in experiment.settings]
    cases = []
    for seed in seeds:
        for prompt in prompts:
            for setting, config, overrides in settings:
                of_case = {**overrides, PROMPT_KEYS[0]: prompt}
                cases.append(PlannedCase(setting, prompt, seed, list(_runs(setting, config, of_case, seed, output))))
    return cases


def _overrides(
    experiment: Experiment, method: PaperMethod, setting: Setting, choice: Choice
) -> tuple[str, dict[str, Any]]:
    """Config and overrides of a setting. The setting's win over the experiment's, which win over the method's."""
    config, overrides = method.config, {**method.overrides, **experiment.overrides}
    if is_bundled(choice.prior):
        config = method.bundled.config or config
        overrides |= {**method.bundled.overrides, **experiment.bundled.overrides}
    overrides |= setting.overrides
    if choice.quick:
        overrides |= {**method.quick.overrides, **experiment.quick.overrides}
    loaded = OmegaConf.load(data_path(config))
    overrides |= {**_prior_overrides(experiment, loaded, choice.prior), **(choice.overrides or {})}
    # Runs that two experiments share need one name: it has all of SHOWN_KEYS, else only what differs from the config.
    shown = {key: OmegaConf.select(loaded, key) for key in SHOWN_KEYS}
    further = {key: value for key, value in overrides.items() if value != OmegaConf.select(loaded, key)}
    values = {key: value for key, value in shown.items() if value is not None} | further
    return str(data_path(config)), {key: _resolved(value, values, loaded) for key, value in values.items()}


def _resolved(value: Any, values: Mapping[str, Any], loaded: Any) -> Any:
    """A value `${key}` replaced by that of the key: overrides are plain text, in which nothing is interpolated."""
    found = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return value if found is None else values.get(found[1], OmegaConf.select(loaded, found[1]))


def _prior_overrides(experiment: Experiment, loaded: Any, prior: str) -> dict[str, Any]:
    """Overrides that select the prior and fit its kind."""
    key = next(key for key in PRIOR_KEYS if OmegaConf.select(loaded, key) is not None)
    if prior == PAPER_PRIOR:  # the config has its kind
        return {key: experiment.prior}
    kind = pipeline_type(prior)
    overrides = {key: prior, f"{key.rpartition('.')[0]}.prior_type": kind}
    if OmegaConf.select(loaded, SPACE_KEY) is not None:
        overrides[SPACE_KEY] = "pixel" if kind == "deep-floyd" else "latent"
    return overrides


def _runs(setting: Setting, config: str, overrides: Mapping[str, Any], seed: int, output: Path) -> Iterator[Run]:
    if not setting.separate:
        yield Run(config, {**overrides, SEED_KEY: seed}, output, setting.method, SHOWN_KEYS)
        return
    key = next(key for key in PARTICLE_KEYS if key in overrides)
    for particle in range(int(overrides[key])):
        single = {**overrides, key: 1, SEED_KEY: SEPARATE_SEEDS * (seed + 1) + particle}
        yield Run(config, single, output, setting.method, SHOWN_KEYS)
