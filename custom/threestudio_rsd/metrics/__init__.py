"""What is measured: diversity, quality, reconstruction, and truth on the bundled world."""

from .aesthetic import aesthetic_score, load_aesthetic_head
from .clip_score import clip_score, load_text_encoder
from .distribution import coverage, frechet_distance, kernel_inception_distance, load_inception, recall
from .diversity import diversity, pairwise_similarity, vendi_score
from .judge import ToyworldJudge
from .reconstruction import load_lpips, lpips_distance, measurement_residual, psnr, reconstruction_metrics, ssim
from .truth import (
    accuracy,
    entropy,
    expected_entropy,
    expected_total_variation,
    modes_covered,
    total_variation,
    true_distribution,
    truth_metrics,
)
from .views import judge_objects, spread_views, view_diversity

__all__ = [
    "ToyworldJudge",
    "accuracy",
    "aesthetic_score",
    "clip_score",
    "coverage",
    "diversity",
    "entropy",
    "expected_entropy",
    "expected_total_variation",
    "frechet_distance",
    "judge_objects",
    "kernel_inception_distance",
    "load_aesthetic_head",
    "load_inception",
    "load_lpips",
    "load_text_encoder",
    "lpips_distance",
    "measurement_residual",
    "modes_covered",
    "pairwise_similarity",
    "psnr",
    "recall",
    "reconstruction_metrics",
    "spread_views",
    "ssim",
    "total_variation",
    "true_distribution",
    "truth_metrics",
    "vendi_score",
    "view_diversity",
]
