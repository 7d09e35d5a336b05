"""Models in a single .safetensors file, as many are shared, by diffusers' `from_single_file`."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import UserError, first_line
from ...pretrained import Pretrained, check_finite, local_path
from ...quiet import quiet_models
from ..pipelines import ACCEPTED, KEY, PIPELINES, find_pipeline

NETWORKS = {"stable-diffusion": ("unet", "UNet2DConditionModel")}  # part and class, where the type is no family
SUFFIX = ".safetensors"  # others are pickles, which can run code
HINT = (
    "set base_model to the folder or hub id of a pipeline of the same kind, from which everything but the noise "
    "network is taken, or convert the file with diffusers: `from_single_file(FILE).save_pretrained(FOLDER)`"
)


def is_single_file(model: str) -> bool:
    """Whether a model's name is that of a .safetensors file on this machine."""
    path = local_path(model)
    return path is not None and path.is_file() and path.suffix == SUFFIX


def single_file_type(model: str, prior_type: str | None, base_model: str | None) -> str:
    """Type of prior of a single file: `prior_type`, or else that of `base_model`.

    Raises:
        UserError: neither is given.
    """
    if prior_type is not None:
        return prior_type
    if base_model is not None:
        return find_pipeline(base_model).kind
    raise UserError(f"{KEY}={model!r} is a single file, which needs prior_type, such as stable-diffusion-xl.")


def load_single_file(
    model: str, prior_type: str, torch_dtype: torch.dtype, base_model: str | None = None, families: Any = None
) -> Any:
    """Load a pipeline of diffusers whose weights are in a single file.

    Args:
        model: path of the file.
        prior_type: type of prior, which decides the class of the pipeline.
        torch_dtype: precision of the weights.
        base_model: folder or hub id of a pipeline from which everything but the noise network is taken; None: the file
            holds everything, and diffusers reads the configs of its parts from the Hugging Face Hub.
        families: registered types of priors.

    Returns:
        The pipeline.

    Raises:
        UserError: the file or the configs cannot be read, or the weights do not fit.
    """
    import diffusers

    file = str(local_path(model))
    source = Pretrained(KEY, model, file, None, ACCEPTED)
    pipe_class = getattr(diffusers, next(name for name, kind in PIPELINES.items() if kind == prior_type))
    family = (families or {}).get(prior_type)
    part, network_class = (family.network_part, family.network_class) if family else NETWORKS.get(prior_type, ("", ""))
    if not part or (base_model is None and not hasattr(pipe_class, "from_single_file")):
        raise source.error(f"a {pipe_class.__name__} cannot be loaded from a single file; {HINT}")
    try:
        with quiet_models():
            if base_model is None:
                pipe = pipe_class.from_single_file(file, torch_dtype=torch_dtype)
            else:
                base = find_pipeline(base_model, expected=prior_type).source
                network = getattr(diffusers, network_class).from_single_file(
                    file, config=base.location, subfolder=part, torch_dtype=torch_dtype
                )
                pipe = pipe_class.from_pretrained(base.location, torch_dtype=torch_dtype, **{part: network})
    except UserError:
        raise
    except Exception as error:  # every library below has errors of its own, down to bare Exceptions
        raise source.error(f"it cannot be loaded as a {pipe_class.__name__} ({first_line(error)}); {HINT}") from error
    _check(getattr(pipe, part), source, part)
    return pipe


def _check(network: nn.Module, source: Pretrained, part: str) -> None:
    missing = [name for name, weight in network.named_parameters() if weight.is_meta]
    if missing:
        raise source.error(
            f"it lacks weights of the {part} ({missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}); "
            "accepted: a file of the same prior_type"
        )
    check_finite(network, source, f"its {part}")


def single_file_identity(model: str, prior_type: str, torch_dtype: torch.dtype) -> list[str]:
    """What the text embeddings of a single file depend on, for the cache."""
    path = Path(str(local_path(model))).resolve()
    facts = path.stat()
    return [str(path), str(facts.st_size), str(facts.st_mtime_ns), prior_type, str(torch_dtype)]
