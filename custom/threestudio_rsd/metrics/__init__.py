"""What is measured: diversity, reconstruction, and truth on the bundled world."""

from .diversity import diversity, pairwise_similarity, vendi_score
from .judge import ToyworldJudge
from .reconstruction import load_lpips, lpips_distance, measurement_residual, psnr, reconstruction_metrics, ssim
from .truth import (
    accuracy,
    entropy,
    expected_entropy,
    expected_total_variation,
    frechet_distance,
    modes_covered,
    total_variation,
    true_distribution,
    truth_metrics,
)
from .views import judge_objects, view_diversity

__all__ = [
    "ToyworldJudge",
    "accuracy",
    "diversity",
    "entropy",
    "expected_entropy",
    "expected_total_variation",
    "frechet_distance",
    "judge_objects",
    "load_lpips",
    "lpips_distance",
    "measurement_residual",
    "modes_covered",
    "pairwise_similarity",
    "psnr",
    "reconstruction_metrics",
    "ssim",
    "total_variation",
    "true_distribution",
    "truth_metrics",
    "vendi_score",
    "view_diversity",
]
