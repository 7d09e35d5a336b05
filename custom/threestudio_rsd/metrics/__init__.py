"""Metrics of images: diversity, text alignment, aesthetics, distance to references, and reconstruction."""

from .aesthetic import aesthetic_score, load_aesthetic_head
from .clip_score import clip_score, load_text_encoder
from .distribution import coverage, frechet_distance, kernel_inception_distance, load_inception, recall
from .diversity import diversity, pairwise_similarity, spread_views, vendi_score, view_diversity
from .lpips import load_lpips
from .reconstruction import lpips_distance, measurement_residual, psnr, reconstruction_metrics, ssim

__all__ = [
    "aesthetic_score",
    "clip_score",
    "coverage",
    "diversity",
    "frechet_distance",
    "kernel_inception_distance",
    "load_aesthetic_head",
    "load_inception",
    "load_lpips",
    "load_text_encoder",
    "lpips_distance",
    "measurement_residual",
    "pairwise_similarity",
    "psnr",
    "recall",
    "reconstruction_metrics",
    "spread_views",
    "ssim",
    "vendi_score",
    "view_diversity",
]
