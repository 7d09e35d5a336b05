"""What is measured: diversity, quality, reconstruction, and truth on the bundled world."""

from .aesthetic import aesthetic_score, load_aesthetic_head
from .clip_score import clip_score, load_text_encoder
from .distribution import coverage, frechet_distance, kernel_inception_distance, load_inception, recall
from .diversity import diversity, pairwise_similarity, vendi_score
from .reconstruction import load_lpips, lpips_distance, measurement_residual, psnr, reconstruction_metrics, ssim

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
    "ssim",
    "vendi_score",
]
