"""How different the particles of one ensemble are, in a feature space (C.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError


def _cosines(features: Tensor) -> Tensor:
    """Cosine similarities (N, N) of features (N, ...), in single precision at least."""
    if features.ndim < 2 or len(features) == 0:
        raise UserError(f"features of shape {tuple(features.shape)} are no ensemble; accepted: (N, D), N at least 1.")
    unit = F.normalize(features.flatten(1).to(torch.promote_types(features.dtype, torch.float32)), dim=1)
    return unit @ unit.T


def pairwise_similarity(features: Tensor) -> Tensor:
    """Mean cosine similarity over the pairs i != j, eq. (37): features (N, D) -> scalar in [-1, 1]; 1 for N = 1.

    Raises:
        UserError: features that are no ensemble.
    """
    cosines = _cosines(features)
    n = len(cosines)
    if n == 1:
        return cosines.new_ones(())
    return (cosines.sum() - cosines.trace()) / (n * (n - 1))


def diversity(features: Tensor) -> Tensor:
    """1 - pairwise similarity, eq. (38): features (N, D) -> scalar; 0 for N = 1.

    Raises:
        UserError: features that are no ensemble.
    """
    return 1 - pairwise_similarity(features)


def vendi_score(features: Tensor) -> Tensor:
    """Effective number of different particles, in [1, N] (Friedman & Dieng, 2023): features (N, D) -> scalar.

    The exponential of the entropy of the eigenvalues of K / N, with K the cosine similarities.

    Raises:
        UserError: features that are no ensemble.
    """
    cosines = _cosines(features)
    eigenvalues = torch.linalg.eigvalsh(cosines / len(cosines)).clamp_min(0)
    return torch.special.entr(eigenvalues).sum().exp()
