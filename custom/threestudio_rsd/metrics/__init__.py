"""What is measured: diversity, and truth on the bundled world."""

from .diversity import diversity, pairwise_similarity, vendi_score
from .judge import ToyworldJudge
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

__all__ = [
    "ToyworldJudge",
    "accuracy",
    "diversity",
    "entropy",
    "expected_entropy",
    "expected_total_variation",
    "frechet_distance",
    "modes_covered",
    "pairwise_similarity",
    "total_variation",
    "true_distribution",
    "truth_metrics",
    "vendi_score",
]
