"""`rsd-prompt-processor`: threestudio's prompt processor on the text encoders and the embedding cache of `priors`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError, one_of
from ..host import PromptProcessor, register
from ..priors import embed_prompts

ENCODERS = {"stable-diffusion": "clip", "deep-floyd": "t5"}  # prior_type -> text encoder


@register("rsd-prompt-processor")
class RSDPromptProcessor(PromptProcessor):
    """Prompt processor for the bundled prior, Stable Diffusion and DeepFloyd IF.

    Raises:
        UserError: an empty prompt, an unknown prior_type, or a model that cannot be loaded.
    """

    @dataclass
    class Config(PromptProcessor.Config):
        pretrained_model_name_or_path: str = "bundled"  # bundled, a diffusers folder or a hub id
        prior_type: str = "stable-diffusion"  # stable-diffusion (CLIP text encoder) or deep-floyd (T5)
        revision: str | None = None  # revision of the hub id
        variant: str | None = None  # variant of the weight files, such as fp16; null: none, or the only one there is

    cfg: Config

    def configure(self) -> None:
        one_of("prior_type", self.cfg.prior_type, tuple(ENCODERS))
        if not self.cfg.prompt.strip():
            raise UserError('system.prompt_processor.prompt is empty; give a prompt such as "a mushroom".')
        super().configure()

    def prepare_text_embeddings(self) -> None:
        """Embed all prompts at once, so that the text encoder is loaded once, or not at all if all are cached."""
        prompts = [self.prompt, self.negative_prompt, *self.prompts_vd, *self.negative_prompts_vd]
        prompts = list(dict.fromkeys(prompts))
        endings = {prompt: self._view_words(prompt) for prompt in self.prompts_vd}
        embeddings = embed_prompts(
            prompts,
            self.cfg.pretrained_model_name_or_path,
            ENCODERS[self.cfg.prior_type],
            revision=self.cfg.revision,
            torch_dtype=torch.float32,
            use_cache=self.cfg.use_cache,
            variant=self.cfg.variant,
            endings=endings,
        )
        self._embeddings = dict(zip(prompts, embeddings.to(self.device), strict=True))

    def _view_words(self, prompt: str) -> str:
        """Words for the direction of view at the end of a prompt, which survive where the prompt is too long."""
        return prompt.removeprefix(self.prompt) if prompt.startswith(self.prompt) else ""

    def load_from_cache(self, prompt: str) -> Tensor:
        return self._embeddings[prompt]
