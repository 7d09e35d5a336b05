"""Priors: pretrained diffusion models with a noise schedule, an encoder, a decoder and noise predictions."""

from .base import NoisePredictions, Prior, PromptEmbedding
from .deep_floyd import DeepFloydPrior
from .gaussian_mixture import GaussianMixturePrior
from .loading import load_prior
from .noise_levels import NoiseLevelInterval, noise_level
from .perp_neg import WeightedNegatives
from .pipelines import is_bundled
from .sampling import sample_ancestral, sample_particle_guidance
from .stable_diffusion import StableDiffusionPrior
from .text import embed_prompts

__all__ = [
    "DeepFloydPrior",
    "GaussianMixturePrior",
    "NoiseLevelInterval",
    "NoisePredictions",
    "Prior",
    "PromptEmbedding",
    "StableDiffusionPrior",
    "WeightedNegatives",
    "embed_prompts",
    "is_bundled",
    "load_prior",
    "noise_level",
    "sample_ancestral",
    "sample_particle_guidance",
]
