"""Priors: pretrained diffusion models with a noise schedule, an encoder, a decoder and noise predictions."""

from .base import NoisePredictions, Prior, PromptEmbedding
from .deep_floyd import DeepFloydPrior
from .families.base import FlowFamilyPrior, TabulatedFamilyPrior
from .families.registry import register_prior
from .flow import FlowPrior
from .gaussian_mixture import GaussianMixturePrior
from .loading import half_dtype, load_prior, prior_types
from .noise_levels import NoiseLevelInterval, noise_level
from .perp_neg import WeightedNegatives
from .pipelines import is_bundled
from .sampling import sample_ancestral, sample_particle_guidance
from .stable_diffusion import StableDiffusionPrior
from .text import embed_prompts

__all__ = [
    "DeepFloydPrior",
    "FlowFamilyPrior",
    "FlowPrior",
    "GaussianMixturePrior",
    "NoiseLevelInterval",
    "NoisePredictions",
    "Prior",
    "PromptEmbedding",
    "StableDiffusionPrior",
    "TabulatedFamilyPrior",
    "WeightedNegatives",
    "embed_prompts",
    "half_dtype",
    "is_bundled",
    "load_prior",
    "noise_level",
    "prior_types",
    "register_prior",
    "sample_ancestral",
    "sample_particle_guidance",
]
