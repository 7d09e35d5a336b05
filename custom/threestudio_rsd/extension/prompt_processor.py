"""`rsd-prompt-processor`: threestudio's prompt processing on the cached, shared text embeddings of `priors`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError, one_of
from ..host import PromptProcessor, register
from ..priors import embed_prompts

ENCODERS = {"stable-diffusion": "clip", "deep-floyd": "t5"}


@register("rsd-prompt-processor")
class RSDPromptProcessor(PromptProcessor):
    """Prompt processor that knows the bundled prior, revisions and both kinds of text encoder.

    Raises:
        UserError: an empty prompt, an unknown prior_type, a model that cannot be loaded.
    """

    @dataclass
    class Config(PromptProcessor.Config):
        pretrained_model_name_or_path: str = "bundled"  # bundled, a diffusers folder or a hub id
        prior_type: str = "stable-diffusion"  # or deep-floyd; says which text encoder the folder holds
        revision: str | None = None  # of the hub id

    cfg: Config

    def configure(self) -> None:
        one_of("prior_type", self.cfg.prior_type, tuple(ENCODERS))
        if not self.cfg.prompt.strip():
            raise UserError('system.prompt_processor.prompt is empty; give a prompt such as "a mushroom".')
        super().configure()

    def prepare_text_embeddings(self) -> None:
        """Embed all prompts at once: one load of the text encoder, if any of them is not cached yet."""
        prompts = [self.prompt, self.negative_prompt, *self.prompts_vd, *self.negative_prompts_vd]
        prompts = list(dict.fromkeys(prompts))
        embeddings = embed_prompts(
            prompts,
            self.cfg.pretrained_model_name_or_path,
            ENCODERS[self.cfg.prior_type],
            revision=self.cfg.revision,
            torch_dtype=torch.float32,
            use_cache=self.cfg.use_cache,
        )
        self._embeddings = dict(zip(prompts, embeddings.to(self.device), strict=True))

    def load_from_cache(self, prompt: str) -> Tensor:
        return self._embeddings[prompt]
