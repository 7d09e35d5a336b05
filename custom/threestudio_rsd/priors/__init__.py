"""What knows natural images: noise schedule, encode, decode, predict_noise."""

from .base import NoisePredictions, Prior, PromptEmbedding
from .deep_floyd import DeepFloydPrior
from .gaussian_mixture import GaussianMixturePrior
from .loading import load_prior
from .particle_guidance import sample_particle_guidance
from .perp_neg import WeightedNegatives
from .sampling import sample_ancestral
from .stable_diffusion import StableDiffusionPrior
from .text_embeddings import embed_prompts

__all__ = [
    "DeepFloydPrior",
    "GaussianMixturePrior",
    "NoisePredictions",
    "Prior",
    "PromptEmbedding",
    "StableDiffusionPrior",
    "WeightedNegatives",
    "embed_prompts",
    "load_prior",
    "sample_ancestral",
    "sample_particle_guidance",
]
