"""`rsd-prompt-processor`: threestudio's prompt processor on the text encoders and the embedding cache of `priors`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError, one_of
from ..host import PromptProcessor, register
from ..priors import embed_prompts, half_dtype, prior_types

ENCODERS = {"stable-diffusion": "clip", "deep-floyd": "t5"}  # prior_type -> text encoder, where the name is another


@register("rsd-prompt-processor")
class RSDPromptProcessor(PromptProcessor):
    """Prompt processor for all priors.

    Raises:
        UserError: an empty prompt, an unknown prior_type, or a model that cannot be loaded.
    """

    @dataclass
    class Config(PromptProcessor.Config):
        pretrained_model_name_or_path: str = "bundled"  # bundled, a diffusers folder, a hub id or a .safetensors file
        prior_type: str = "stable-diffusion"  # see PriorConfig; decides the text encoder
        base_model: str | None = None  # pipeline with the text encoders of a .safetensors file; see PriorConfig
        revision: str | None = None  # revision of the hub id
        variant: str | None = None  # variant of the weight files, such as fp16; null: none, or the only one there is

    cfg: Config

    def configure(self) -> None:
        one_of("prior_type", self.cfg.prior_type, prior_types())
        if not self.cfg.prompt.strip():
            raise UserError('system.prompt_processor.prompt is empty; give a prompt such as "a mushroom".')
        super().configure()

    def prepare_text_embeddings(self) -> None:
        """Embed all prompts at once, so that the text encoder is loaded once, or not at all if all are cached."""
        prompts = [self.prompt, self.negative_prompt, *self.prompts_vd, *self.negative_prompts_vd]
        prompts = list(dict.fromkeys(prompts))
        endings = {prompt: self._view_words(prompt) for prompt in self.prompts_vd}
        prior_type, is_on_gpu = self.cfg.prior_type, torch.device(self.device).type == "cuda"
        half = is_on_gpu and prior_type not in ENCODERS  # their text encoders have billions of weights
        embeddings = embed_prompts(
            prompts,
            self.cfg.pretrained_model_name_or_path,
            ENCODERS.get(prior_type, prior_type),
            revision=self.cfg.revision,
            torch_dtype=half_dtype(prior_type) if half else torch.float32,
            use_cache=self.cfg.use_cache,
            variant=self.cfg.variant,
            endings=endings,
            negatives=[self.negative_prompt, *self.negative_prompts_vd],
            device=self.device if half else "cpu",
            base_model=self.cfg.base_model,
        )
        self._embeddings = dict(zip(prompts, embeddings.to(self.device), strict=True))

    def _view_words(self, prompt: str) -> str:
        """Words for the direction of view at the end of a prompt, which survive where the prompt is too long."""
        return prompt.removeprefix(self.prompt) if prompt.startswith(self.prompt) else ""

    def load_from_cache(self, prompt: str) -> Tensor:
        return self._embeddings[prompt]
