"""Text embeddings of registered types of priors, by `encode_prompt` of their pipelines."""

import gc
import json
from functools import cached_property
from typing import Any

import torch

from ...errors import UserError, first_line
from ...pretrained import check_finite, choose_variant
from ...quiet import quiet_models
from ..families.registry import FAMILIES
from ..families.single_file import load_single_file, single_file_identity
from ..pipelines import Pipeline, find_pipeline
from .cache import LIBRARIES, Entry, model_identity

CPU = torch.device("cpu")


class FamilyEncoder:
    """Text encoders of a pipeline, loaded when they are called and freed afterwards.

    Args:
        family: class of the prior, with `encode_text`.
        model: folder or hub id.
        revision: revision of the hub id.
        variant: variant of the weights to prefer; see `choose_variant`.
        torch_dtype: precision of the text encoders.
        device: device on which they run.

    Raises:
        UserError: the model is no such pipeline.
    """

    def __init__(
        self,
        family: Any,
        model: str,
        revision: str | None,
        variant: str | None,
        torch_dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.family = family
        self.torch_dtype = torch_dtype
        self.device = torch.device(device)
        self.revision = revision
        self.pipeline: Pipeline = find_pipeline(model, revision, family.prior_type, variant)

    @cached_property
    def identity(self) -> list[str]:
        """All that an embedding depends on beside the prompt."""
        index, source = self.pipeline.index, self.pipeline.source
        parts = sorted(part for part in index if part.startswith(("text_encoder", "tokenizer")))
        network = source.read_json(f"{self.family.network_part}/config.json")
        facts = [self.family.prior_type, json.dumps(index, sort_keys=True), json.dumps(network, sort_keys=True)]
        libraries = (*LIBRARIES, "diffusers")
        return model_identity(source, self.revision, facts, self.pipeline.variant, self.torch_dtype, parts, libraries)

    def __call__(self, prompts: dict[str, str]) -> list[Entry]:
        """Embed prompts, given with a mark, `negative` or nothing.

        Raises:
            UserError: the text encoders cannot be loaded or cannot embed a prompt.
        """
        pipe = self._load()
        entries = []
        for prompt, mark in prompts.items():
            with torch.no_grad():
                text = encode_one(self.family, pipe, prompt, mark == "negative", self.device)
            entries.append(Entry(text.float().cpu().contiguous()))
        del pipe
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # for the noise network, which comes next
        return entries

    def _load(self) -> Any:
        """Pipeline without autoencoder, and with a noise network that has no weights."""
        import diffusers
        from accelerate import init_empty_weights

        source, part = self.pipeline.source, self.family.network_part
        options: dict[str, Any] = {"torch_dtype": self.torch_dtype}
        if source.commit is not None and not source.is_folder:
            options["revision"] = source.commit
        for name in self._encoder_names:
            chosen = choose_variant(source, name, self.pipeline.variant)
            if chosen is not None:
                options["variant"] = chosen
        try:
            with init_empty_weights(), quiet_models():
                network_class = getattr(diffusers, self.family.network_class)
                network = network_class.from_config(source.read_json(f"{part}/config.json"))
            with quiet_models():
                pipe_class = getattr(diffusers, self.pipeline.index["_class_name"])
                pipe = pipe_class.from_pretrained(source.location, **{part: network, "vae": None}, **options)
        except UserError:
            raise
        except Exception as error:  # every library below has errors of its own, down to bare Exceptions
            raise source.error(f"its text encoders cannot be loaded ({first_line(error)})") from error
        for name in self._encoder_names:
            encoder = getattr(pipe, name)
            check_finite(encoder, source, f"its {name}")
            encoder.to(self.device).eval()
        return pipe

    @property
    def _encoder_names(self) -> list[str]:
        index = self.pipeline.index
        return [name for name in index if name.startswith("text_encoder") and self.pipeline.has(name)]


class FileEncoder:
    """Text encoders in a single file that holds a whole pipeline.

    Args:
        model: path of the file.
        prior_type: type of prior.
        torch_dtype: precision of the text encoders.
    """

    def __init__(self, model: str, prior_type: str, torch_dtype: torch.dtype) -> None:
        self.model, self.prior_type, self.torch_dtype = model, prior_type, torch_dtype
        self.identity = single_file_identity(model, prior_type, torch_dtype)

    def __call__(self, prompts: dict[str, str]) -> list[Entry]:
        """Embed prompts; see `FamilyEncoder`."""
        pipe = load_single_file(self.model, self.prior_type, self.torch_dtype, families=FAMILIES)
        family = FAMILIES.get(self.prior_type, PlainPipeline)
        with torch.no_grad():
            texts = [encode_one(family, pipe, text, mark == "negative", CPU) for text, mark in prompts.items()]
        return [Entry(text.float().contiguous()) for text in texts]


class PlainPipeline:
    """Text embeddings of Stable Diffusion by its pipeline."""

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> torch.Tensor:
        """Text embedding (L, D) of a prompt."""
        text: torch.Tensor = pipe.encode_prompt(prompt, device, 1, False)[0][0]
        return text


def encode_one(family: Any, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> torch.Tensor:
    """Packed text embedding (L, D) of a prompt.

    Raises:
        UserError: the pipeline cannot embed it.
    """
    try:
        text: torch.Tensor = family.encode_text(pipe, prompt, is_negative, device)
    except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{type(pipe).__name__}.encode_prompt cannot embed a prompt ({first_line(error)}).") from error
    if text.ndim != 2 or not text.isfinite().all():
        found = f"shape {tuple(text.shape)}" if text.ndim != 2 else "numbers that are not finite"
        raise UserError(f"{type(pipe).__name__}.encode_prompt gives an embedding of {found}; accepted: finite (L, D).")
    return text
