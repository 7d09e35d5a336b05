"""Gaussian mixture: a prior whose score is known in closed form, for tests and the toy problem (C.3.1)."""

import torch
from torch import Tensor

from ..errors import UserError
from .base import PromptEmbedding, TabulatedPrior


def scaled_linear_alphas_cumprod(total: int = 1000, start: float = 0.00085, end: float = 0.012) -> Tensor:
    """Noise schedule of Stable Diffusion: alpha_t^2, (total,), from betas between `start` and `end`."""
    betas = torch.linspace(start**0.5, end**0.5, total, dtype=torch.float64).square()
    return (1 - betas).cumprod(0).float()


class GaussianMixturePrior(TabulatedPrior):
    """Mixture of isotropic Gaussians with the exact noise prediction -sigma_t grad log p_t(x_t).

    Args:
        means: means of the K components, (K, *shape).
        variances: variance of each component per coordinate, (K,).
        weights: weights of the components, (K,); they are normalized to sum to 1.
        num_train_timesteps: number of timesteps T.
        alphas_cumprod: alpha_t^2 for each t, (T,); None: Stable Diffusion's schedule over T steps.

    Raises:
        UserError: variances or weights are not K positive numbers.

    Example:
        >>> prior = GaussianMixturePrior(torch.tensor([[2.0, 0.0]]), torch.ones(1), torch.ones(1))
        >>> x_t = prior.alpha(500) * prior.means  # at the mean, the score is zero
        >>> prior.predict_noise(x_t, 500, prior.embed())
        tensor([[0., 0.]])
    """

    image_size = 0
    means: Tensor
    variances: Tensor
    weights: Tensor

    def __init__(
        self,
        means: Tensor,
        variances: Tensor,
        weights: Tensor,
        num_train_timesteps: int = 1000,
        alphas_cumprod: Tensor | None = None,
    ) -> None:
        k = len(means)
        if variances.shape != (k,) or weights.shape != (k,) or not (variances > 0).all() or not (weights > 0).all():
            raise UserError(
                f"variances {variances.tolist()} and weights {weights.tolist()} do not fit {k} means; accepted: "
                "one positive number of each for each mean."
            )
        if alphas_cumprod is None:
            alphas_cumprod = scaled_linear_alphas_cumprod(num_train_timesteps)
        super().__init__(alphas_cumprod, tuple(means.shape[1:]))
        self.register_buffer("means", means.flatten(1).float())
        self.register_buffer("variances", variances.float())
        self.register_buffer("weights", (weights / weights.sum()).float())
        self.fingerprint = f"Gaussian mixture of {len(means)}"

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """See `Prior.raw_predict`; the text is ignored."""
        self.network_calls += len(x_t)
        alpha, sigma = (level.reshape(-1, 1, 1) for level in (self.alpha(t), self.sigma(t)))
        flat = x_t.flatten(1)
        variance = alpha[..., 0] ** 2 * self.variances + sigma[..., 0] ** 2  # (N or 1, K)
        offset = flat[:, None] - alpha * self.means  # (N, K, D)
        log_weight = (
            self.weights.log() - 0.5 * offset.square().sum(-1) / variance - 0.5 * flat.shape[1] * variance.log()
        )
        pull = (log_weight.softmax(-1) / variance)[..., None] * offset
        return (sigma[..., 0] * pull.sum(1)).reshape(x_t.shape)

    def embed(self, prompt: str = "", negative_prompt: str = "") -> PromptEmbedding:
        """Empty embedding: the mixture ignores prompts."""
        nothing = self.means.new_zeros(1, 0, 0)
        return PromptEmbedding(nothing, nothing, nothing)

    def encode(self, images: Tensor) -> Tensor:
        """Identity: particles are the images themselves."""
        return images

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        """Identity: particles are the images themselves."""
        return latents
