"""`stable-diffusion-prompt-processor` and `deep-floyd-prompt-processor`: ours under threestudio's names."""

from dataclasses import dataclass

from ...host import register
from ..prompt_processor import RSDPromptProcessor
from .guidance import DEEP_FLOYD, STABLE_DIFFUSION


@register("stable-diffusion-prompt-processor")
class StableDiffusionPromptProcessor(RSDPromptProcessor):
    """Prompt processor for Stable Diffusion; see `RSDPromptProcessor`."""

    @dataclass
    class Config(RSDPromptProcessor.Config):
        pretrained_model_name_or_path: str = STABLE_DIFFUSION

    cfg: Config


@register("deep-floyd-prompt-processor")
class DeepFloydPromptProcessor(RSDPromptProcessor):
    """Prompt processor for DeepFloyd IF; see `RSDPromptProcessor`."""

    @dataclass
    class Config(RSDPromptProcessor.Config):
        pretrained_model_name_or_path: str = DEEP_FLOYD
        prior_type: str = "deep-floyd"

    cfg: Config
