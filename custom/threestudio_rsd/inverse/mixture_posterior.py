"""Posterior of a Gaussian-mixture prior and a linear measurement, in closed form: a mixture again."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..priors import GaussianMixturePrior


@dataclass
class MixturePosterior:
    """Mixture of K Gaussians in D dimensions.

    Attributes:
        weights: weights of the modes, (K,).
        means: means of the modes, (K, D).
        covariances: covariances of the modes, (K, D, D); not of full rank without measurement noise.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of the mixture, (D,)."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        """Covariance of the mixture, (D, D)."""
        offsets = self.means - self.mean
        between = torch.einsum("k,ki,kj->ij", self.weights, offsets, offsets)
        return torch.einsum("k,kij->ij", self.weights, self.covariances) + between

    def nearest_mode(self, samples: Tensor) -> Tensor:
        """Index of the mode whose mean is nearest, (S, D) -> (S,)."""
        nearest: Tensor = torch.cdist(samples, self.means).argmin(1)
        return nearest


def mixture_posterior(
    prior: GaussianMixturePrior, matrix: Tensor, measurement: Tensor, deviation: float
) -> MixturePosterior:
    """Posterior p(x | y = A x + deviation * noise) of a mixture prior.

    Mode k has weight proportional to w_k N(y; A mu_k, S_k), S_k = v_k A A^T + deviation^2 I, mean
    mu_k + G_k (y - A mu_k) and covariance v_k (I - G_k A), with G_k = v_k A^T S_k^-1.

    Args:
        prior: mixture of isotropic Gaussians in D dimensions.
        matrix: A, (E, D).
        measurement: y, (E,).
        deviation: standard deviation of the noise, in units of y, above 0.

    Example:
        >>> prior = GaussianMixturePrior(torch.tensor([[0.0, -1.0], [0.0, 1.0]]), torch.ones(2), torch.ones(2))
        >>> posterior = mixture_posterior(prior, torch.tensor([[1.0, 0.0]]), torch.tensor([2.0]), deviation=1.0)
        >>> posterior.means
        tensor([[ 1., -1.],
                [ 1.,  1.]])
    """
    residual = measurement - prior.means @ matrix.T  # (K, E)
    noise = deviation**2 * torch.eye(len(matrix))
    spread = prior.variances[:, None, None] * (matrix @ matrix.T) + noise  # S_k, (K, E, E)
    gain = prior.variances[:, None, None] * torch.linalg.solve(spread, matrix.expand(len(spread), -1, -1)).mT  # G_k
    distance = (residual * torch.linalg.solve(spread, residual[..., None])[..., 0]).sum(-1)
    log_weights = prior.weights.log() - (distance + torch.logdet(spread)) / 2
    identity = torch.eye(matrix.shape[1])
    return MixturePosterior(
        weights=log_weights.softmax(0),
        means=prior.means + (gain @ residual[..., None])[..., 0],
        covariances=prior.variances[:, None, None] * (identity - gain @ matrix),
    )
