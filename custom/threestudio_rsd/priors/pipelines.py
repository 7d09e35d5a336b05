"""Diffusers pipelines: their names and files, the classes of their parts, and the loading of these."""

from dataclasses import dataclass
from typing import Any

import torch

from ..errors import UserError, first_line
from ..files import data_path
from ..pretrained import Pretrained, find_pretrained, load_pretrained
from .schedulers import FLOW_SCHEDULERS, SCHEDULERS, check_flow_matching, check_noise_levels

BUNDLED = {  # folders by name
    "bundled": "load/toyworld/text-to-image",
    "bundled-pixel": "load/toyworld/pixel",
    "bundled-flow": "load/toyworld/flow",
}
KEY = "pretrained_model_name_or_path"
ACCEPTED = (
    "bundled, bundled-pixel, bundled-flow, a folder with a diffusers pipeline (model_index.json), or a hub id that can "
    "be reached, such as stable-diffusion-v1-5/stable-diffusion-v1-5"
)

# Type of prior by the class that a pipeline's model_index.json names; `register_prior` adds to it.
PIPELINES: dict[str, str] = {
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionImg2ImgPipeline": "stable-diffusion",
    "IFPipeline": "deep-floyd",
    "IFImg2ImgPipeline": "deep-floyd",
}


def is_bundled(model: str) -> bool:
    """Whether a model's name is that of a prior shipped with this package."""
    return model in BUNDLED


def pipeline_type(model: str, revision: str | None = None, expected: str | None = None) -> str:
    """Type of prior of a pipeline, such as `stable-diffusion`; arguments and errors as in `find_pipeline`."""
    return find_pipeline(model, revision, expected).kind


@dataclass(frozen=True)
class Pipeline:
    """A diffusers pipeline whose parts are not loaded yet.

    Attributes:
        source: its files.
        kind: type of prior, such as `stable-diffusion`.
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
        if not self.has(part):
            return None
        entry = self.index[part]
        if entry[0] != library:
            raise self.source.error(f"its {part} is of class {entry[0]}.{entry[1]}; accepted: a class of {library}")
        return str(entry[1])

    def has(self, part: str) -> bool:
        """Whether model_index.json names a class of a part."""
        entry = self.index.get(part)
        return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None

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
        model_class = getattr(diffusers, class_name, None)
        if model_class is None:
            raise self.source.error(f"its {part} needs a newer diffusers than {diffusers.__version__} ({class_name})")
        return load_pretrained(model_class, self.source, part, self.variant, torch_dtype=torch_dtype)

    def load_scheduler(self, is_flow: bool = False) -> Any:
        """Load the scheduler by its own class, whose noise levels are those of the pipeline.

        Args:
            is_flow: whether it must do flow matching; otherwise it must have a table of noise levels.

        Raises:
            UserError: it does not, or has impossible noise levels, or its config cannot be read.
        """
        import diffusers

        config = self.source.read_json("scheduler/scheduler_config.json")
        named, own = self.class_name("scheduler"), config.get("_class_name")
        self.check_class("scheduler", [named, own], FLOW_SCHEDULERS if is_flow else SCHEDULERS)
        name = named or own or "DDPMScheduler"
        try:
            scheduler = getattr(diffusers, name).from_config(config)
        except Exception as error:  # diffusers checks the values of a config in many ways, or in none
            raise self.source.error(f"its scheduler cannot be loaded as {name} ({first_line(error)})") from error
        (check_flow_matching if is_flow else check_noise_levels)(scheduler, self.source.error)
        return scheduler


def find_pipeline(
    model: str, revision: str | None = None, expected: str | None = None, variant: str | None = None
) -> Pipeline:
    """Find a pipeline and read its index.

    Args:
        model: one of BUNDLED, a diffusers folder or a hub id.
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
        raise UserError(f"{KEY}={model!r} is a {name}; {_supported(kind, expected)}.")
    return Pipeline(source, kind, index, variant)


def kind_of(pipe: Any, expected: str | None = None) -> str:
    """Type of prior of a pipeline object of diffusers.

    Args:
        pipe: the pipeline.
        expected: type of prior that the caller needs; None: any.

    Raises:
        UserError: its class is not supported, or not one of the expected type.
    """
    name = type(pipe).__name__
    kind = PIPELINES.get(name)
    if kind is None or expected not in (None, kind):
        raise UserError(f"the pipeline is a {name}; {_supported(kind, expected)}.")
    return kind


def _supported(kind: str | None, expected: str | None) -> str:
    """Part of a message: the pipelines that are accepted in place of one of type `kind`, None being no type at all."""
    accepted = ", ".join(name for name, its_kind in PIPELINES.items() if expected in (None, its_kind))
    if kind is not None:
        return f"prior_type={expected!r} takes {accepted}, and a {kind} pipeline needs prior_type={kind!r}"
    wanted = f"prior_type={expected!r} takes" if expected else "accepted:"
    return f"{wanted} {accepted}; docs/guides/priors.md shows how to add another"
