"""Diffusers pipelines: their names and files, the classes of their parts, and the loading of these."""

from dataclasses import dataclass
from typing import Any

import torch

from ..errors import UserError, first_line
from ..files import data_path
from ..pretrained import Pretrained, find_pretrained, load_pretrained
from .base import PREDICTION_TYPES

BUNDLED = {"bundled": "load/toyworld/text-to-image", "bundled-pixel": "load/toyworld/pixel"}  # folders by name
KEY = "pretrained_model_name_or_path"
ACCEPTED = (
    "bundled, bundled-pixel, a folder with a diffusers pipeline (model_index.json), or a hub id that can be reached, "
    "such as stable-diffusion-v1-5/stable-diffusion-v1-5"
)

# Type of prior by the class that a pipeline's model_index.json names.
PIPELINES = {
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionImg2ImgPipeline": "stable-diffusion",
    "IFPipeline": "deep-floyd",
    "IFImg2ImgPipeline": "deep-floyd",
}

# Schedulers with a table of T noise levels, alphas_cumprod. Left out: flow matching, EDM, and distilled models.
SCHEDULERS = (
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
)

RISE = (
    1e-6  # accepted rise of alphas_cumprod; with a zero terminal SNR, Euler's last level is 2^-24 after a smaller one
)


def is_bundled(model: str) -> bool:
    """Whether a model's name is that of a prior shipped with this package."""
    return model in BUNDLED


def pipeline_type(model: str, revision: str | None = None, expected: str | None = None) -> str:
    """Type of prior of a pipeline: `stable-diffusion` or `deep-floyd`; arguments and errors as in `find_pipeline`."""
    return find_pipeline(model, revision, expected).kind


@dataclass(frozen=True)
class Pipeline:
    """A diffusers pipeline whose parts are not loaded yet.

    Attributes:
        source: its files.
        kind: type of prior, `stable-diffusion` or `deep-floyd`.
        index: content of model_index.json: library and class of each part.
        variant: variant of the weights to prefer; see `choose_variant`.
    """

    source: Pretrained
    kind: str
    index: dict[str, Any]
    variant: str | None = None

    def class_name(self, part: str, library: str = "diffusers") -> str | None:
        """Class of a part in model_index.json; None where it names none.

        Raises:
            UserError: the class is of another library.
        """
        entry = self.index.get(part)
        if not isinstance(entry, list) or len(entry) != 2 or entry[1] is None:
            return None
        if entry[0] != library:
            raise self.source.error(f"its {part} is of class {entry[0]}.{entry[1]}; accepted: a class of {library}")
        return str(entry[1])

    def check_class(self, part: str, names: list[str | None], accepted: tuple[str, ...]) -> None:
        """Check the classes that model_index.json and a part's own config name.

        Raises:
            UserError: a name is not one of `accepted`.
        """
        for name in names:
            if name is not None and name not in accepted:
                raise self.source.error(f"its {part} is of class {name}; accepted: {', '.join(accepted)}")

    def load(self, part: str, class_name: str, torch_dtype: torch.dtype = torch.float32) -> Any:
        """Load a model of diffusers.

        Args:
            part: its subfolder.
            class_name: its class, the only one accepted.
            torch_dtype: precision of the weights.

        Raises:
            UserError: the part is of another class, or cannot be loaded; see `load_pretrained`.
        """
        import diffusers

        own_name = self.source.read_json(f"{part}/config.json").get("_class_name")
        self.check_class(part, [self.class_name(part), own_name], (class_name,))
        model_class = getattr(diffusers, class_name)
        return load_pretrained(model_class, self.source, part, self.variant, torch_dtype=torch_dtype)

    def load_scheduler(self) -> Any:
        """Load the scheduler by its own class, whose noise levels are those of the pipeline.

        Raises:
            UserError: it has no table of noise levels, or an impossible one, or its config cannot be read.
        """
        import diffusers

        config = self.source.read_json("scheduler/scheduler_config.json")
        named, own = self.class_name("scheduler"), config.get("_class_name")
        self.check_class("scheduler", [named, own], SCHEDULERS)
        name = named or own or "DDPMScheduler"
        try:
            scheduler = getattr(diffusers, name).from_config(config)
        except Exception as error:  # diffusers checks the values of a config in many ways, or in none
            raise self.source.error(f"its scheduler cannot be loaded as {name} ({first_line(error)})") from error
        if config.get("use_flow_sigmas"):
            raise self.source.error("its scheduler has use_flow_sigmas=true, flow matching; accepted: false")
        prediction_type = scheduler.config.get("prediction_type", "epsilon")
        if prediction_type not in PREDICTION_TYPES:
            raise self.source.error(
                f"its scheduler has prediction_type={prediction_type!r}; accepted: {', '.join(PREDICTION_TYPES)}"
            )
        levels = scheduler.alphas_cumprod
        if not (levels.isfinite().all() and (levels.diff() <= RISE).all() and levels[0] <= 1 and levels[-1] >= 0):
            raise self.source.error(
                "the noise levels of its scheduler are impossible (alphas_cumprod must fall within [0, 1]); check its "
                "betas in scheduler/scheduler_config.json"
            )
        return scheduler


def find_pipeline(
    model: str, revision: str | None = None, expected: str | None = None, variant: str | None = None
) -> Pipeline:
    """Find a pipeline and read its index.

    Args:
        model: `bundled`, `bundled-pixel`, a diffusers folder or a hub id.
        revision: revision of the hub id.
        expected: type of prior that the caller needs; None: any.
        variant: variant of the weights to prefer, such as `fp16`; see `choose_variant`.

    Raises:
        UserError: the model is no pipeline, cannot be reached, or is of an unknown type or of another than `expected`.
    """
    if is_bundled(model):
        source = Pretrained(KEY, model, str(data_path(BUNDLED[model])), None, ACCEPTED)
    else:
        source = find_pretrained(KEY, model, "model_index.json", ACCEPTED, revision)
    if source.is_folder and "model_index.json" not in source.file_names():
        raise UserError(
            f"{KEY}={model!r} is a folder without model_index.json, and so no diffusers pipeline; accepted: {ACCEPTED}."
        )
    index = source.read_json("model_index.json")
    name = str(index.get("_class_name"))
    kind = PIPELINES.get(name)
    if kind is None or expected not in (None, kind):
        accepted = [pipeline for pipeline, its_kind in PIPELINES.items() if expected in (None, its_kind)]
        wanted = f"prior_type={expected!r} takes" if expected else "accepted:"
        raise UserError(f"{KEY}={model!r} is a {name}; {wanted} {', '.join(accepted)}.")
    return Pipeline(source, kind, index, variant)
