"""Diversity of an ensemble of particles in a feature space: pairwise similarity, diversity and Vendi score (C.1)."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..finite import require_finite

TINY = 1e-6  # features below it are scaled, because `normalize` divides by at least 1e-12
MEASURED_VIEWS = 8  # number of test cameras that contact sheets and metrics use


def _cosines(features: Tensor) -> Tensor:
    """Cosine similarities (N, N) of features (N, ...), at least in single precision."""
    if features.ndim < 2 or len(features) == 0:
        raise UserError(f"features of shape {tuple(features.shape)} are no ensemble; accepted: (N, D), N at least 1.")
    require_finite("the features", features)
    flat = features.flatten(1).to(torch.promote_types(features.dtype, torch.float32))
    largest = flat.abs().amax(1, keepdim=True)
    flat = torch.where(largest < TINY, flat / largest.clamp_min(torch.finfo(flat.dtype).tiny), flat)
    unit = F.normalize(flat, dim=1)
    is_zero = (largest == 0).to(unit.dtype)
    return unit @ unit.T + is_zero @ is_zero.T  # equal features of length 0, as of black images, have similarity 1


def pairwise_similarity(features: Tensor) -> Tensor:
    """Mean cosine similarity over the pairs i != j, eq. (37).

    Args:
        features: features of the particles, (N, D).

    Returns:
        Scalar in [-1, 1]; 1 for N = 1.

    Raises:
        UserError: the features are not (N, D) with N at least 1.

    Example:
        >>> pairwise_similarity(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]))
        tensor(0.3333)
    """
    cosines = _cosines(features)
    n = len(cosines)
    if n == 1:
        return cosines.new_ones(())
    return (cosines.sum() - cosines.trace()) / (n * (n - 1))


def diversity(features: Tensor) -> Tensor:
    """1 - pairwise similarity, eq. (38).

    Args:
        features: features of the particles, (N, D).

    Returns:
        Scalar; 0 for N = 1.

    Raises:
        UserError: the features are not (N, D) with N at least 1.

    Example:
        >>> diversity(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(1.)
    """
    return 1 - pairwise_similarity(features)


def vendi_score(features: Tensor) -> Tensor:
    """Effective number of different particles, in [1, N] (Friedman & Dieng, 2023).

    Exponential of the entropy of the eigenvalues of K / N, where K is the matrix of cosine similarities.

    Args:
        features: features of the particles, (N, D).

    Returns:
        Scalar.

    Raises:
        UserError: the features are not (N, D) with N at least 1.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> round(float(vendi_score(features)), 3)  # two kinds of particles
        2.0
    """
    cosines = _cosines(features)
    eigenvalues = torch.linalg.eigvalsh(cosines / len(cosines)).clamp_min(0)
    score: Tensor = torch.special.entr(eigenvalues).sum().exp()
    return score


@torch.no_grad()
def view_diversity(images: Tensor, networks: Mapping[str, Callable[[Tensor], Tensor]]) -> dict[str, float]:
    """Diversity (38) of the N renders from one camera, averaged over the cameras.

    Args:
        images: renders of N objects from V cameras, (N, V, 3, H, W) in [0, 1].
        networks: feature networks by name, (B, 3, H, W) -> (B, D).

    Returns:
        Diversity by name of the network.

    Example:
        >>> images = torch.rand(1, 4, 3, 8, 8).repeat(2, 1, 1, 1, 1)  # two equal objects
        >>> abs(view_diversity(images, {"pixels": lambda x: x.flatten(1)})["pixels"]) < 1e-6
        True
    """
    n, v = images.shape[:2]
    result = {}
    for name, network in networks.items():
        features = network(images.flatten(0, 1)).flatten(1).unflatten(0, (n, v))
        result[name] = sum(float(diversity(features[:, camera])) for camera in range(v)) / v
    return result


def spread_views(n_views: int) -> list[int]:
    """Indices of up to MEASURED_VIEWS cameras, evenly spread over a turntable of n_views cameras.

    Args:
        n_views: number of cameras of the turntable.

    Example:
        >>> spread_views(16)
        [0, 2, 4, 6, 8, 10, 12, 14]
    """
    indices: list[int] = torch.linspace(0, n_views, MEASURED_VIEWS + 1)[:-1].long().unique().tolist()
    return indices
