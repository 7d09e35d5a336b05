"""The runs that an experiment of the paper needs: which, with what settings, and what they are called."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..files import data_path
from ..priors.pipelines import is_bundled, pipeline_type
from ..runs.grid import PRIOR_KEYS, PROMPT_KEYS, SEED_KEY
from ..runs.run import Run
from .definitions import PAPER_PRIOR, Arm, Experiment, Method

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
class Case:
    """One prompt and seed of an arm.

    Attributes:
        runs: one; of separate particles one for each.
    """

    arm: Arm
    prompt: str
    seed: int
    runs: list[Run]


@dataclass
class Choice:
    """What the user chose.

    Attributes:
        prior: name for `load_prior`, or `paper`.
        quick: few prompts, seeds and steps.
        prompts: in place of the experiment's.
        seeds: in place of the experiment's.
        settings: of all arms, values by dotted key.
    """

    prior: str = "bundled"
    quick: bool = False
    prompts: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    settings: Mapping[str, Any] | None = None


def plan(experiment: Experiment, methods: Mapping[str, Method], choice: Choice, output: Path) -> list[Case]:
    """Every case of an experiment; seeds vary slowest, so that one which is cut off has all arms for its first seeds.

    Args:
        output: folder of the runs, which experiments share: a run of several of them is made once.
    """
    bundled = is_bundled(choice.prior)
    prompts, seeds = list(experiment.prompts), list(experiment.seeds)
    for variant in ([experiment.bundled] if bundled else []) + ([experiment.quick] if choice.quick else []):
        prompts, seeds = variant.prompts or prompts, variant.seeds or seeds
    if choice.quick:
        prompts, seeds = prompts[:2], seeds[:1]
    prompts, seeds = list(choice.prompts or prompts), list(choice.seeds or seeds)
    arms = [(arm, *_settings(experiment, methods[arm.method], arm, choice)) for arm in experiment.arms]
    cases = []
    for seed in seeds:
        for prompt in prompts:
            for arm, config, settings in arms:
                of_case = {**settings, PROMPT_KEYS[0]: prompt}
                cases.append(Case(arm, prompt, seed, list(_runs(arm, config, of_case, seed, output))))
    return cases


def _settings(experiment: Experiment, method: Method, arm: Arm, choice: Choice) -> tuple[str, dict[str, Any]]:
    """Config, and settings by dotted key: those of the arm win over the experiment's, which win over the method's."""
    bundled = is_bundled(choice.prior)
    config, settings = method.config, {**method.settings, **experiment.settings}
    if bundled:
        config = method.bundled.config or config
        settings |= {**method.bundled.settings, **experiment.bundled.settings}
    settings |= arm.settings
    if choice.quick:
        settings |= {**method.quick.settings, **experiment.quick.settings}
    loaded = OmegaConf.load(data_path(config))
    settings |= {**_prior_settings(experiment, loaded, choice.prior), **(choice.settings or {})}
    # What two experiments share must have one name: all of the shown, and else only what differs from the config.
    shown = {key: OmegaConf.select(loaded, key) for key in SHOWN_KEYS}
    further = {key: value for key, value in settings.items() if value != OmegaConf.select(loaded, key)}
    return str(data_path(config)), {key: value for key, value in {**shown, **further}.items() if value is not None}


def _prior_settings(experiment: Experiment, loaded: Any, prior: str) -> dict[str, Any]:
    """The prior, and what follows from its kind, by dotted key."""
    key = next(key for key in PRIOR_KEYS if OmegaConf.select(loaded, key) is not None)
    if prior == PAPER_PRIOR:  # the kind is the config's
        return {key: experiment.prior}
    kind = pipeline_type(prior)
    settings = {key: prior, f"{key.rpartition('.')[0]}.prior_type": kind}
    if OmegaConf.select(loaded, SPACE_KEY) is not None:
        settings[SPACE_KEY] = "pixel" if kind == "deep-floyd" else "latent"
    return settings


def _runs(arm: Arm, config: str, settings: Mapping[str, Any], seed: int, output: Path) -> Iterator[Run]:
    if not arm.separate:
        yield Run(config, {**settings, SEED_KEY: seed}, output, arm.method, SHOWN_KEYS)
        return
    key = next(key for key in PARTICLE_KEYS if key in settings)
    for particle in range(int(settings[key])):
        single = {**settings, key: 1, SEED_KEY: SEPARATE_SEEDS * (seed + 1) + particle}
        yield Run(config, single, output, arm.method, SHOWN_KEYS)
