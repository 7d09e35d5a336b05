"""What is measured: diversity, and truth on the bundled world."""

from .diversity import diversity, pairwise_similarity, vendi_score
from .judge import ToyworldJudge
from .truth import modes_covered

__all__ = ["ToyworldJudge", "diversity", "modes_covered", "pairwise_similarity", "vendi_score"]
