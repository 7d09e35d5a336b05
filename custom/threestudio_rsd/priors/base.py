"""What a prior owes to everything else, and the two small records that pass between them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .perp_neg import WeightedNegatives, perp_neg_condition


@dataclass
class PromptEmbedding:
    """Text embeddings of the prompt, the empty prompt and the negative prompt, each (1 or N, L, D).

    `negative` equals `unconditional` where there is no negative prompt; `perp_neg` holds Perp-Neg's own negatives.
    """

    conditional: Tensor
    unconditional: Tensor
    negative: Tensor
    perp_neg: WeightedNegatives | None = None

    def expand(self, n: int) -> "PromptEmbedding":
        """The same for n particles."""
        return PromptEmbedding(
            self.conditional.expand(n, -1, -1),
            self.unconditional.expand(n, -1, -1),
            self.negative.expand(n, -1, -1),
            None if self.perp_neg is None else self.perp_neg.expand(n),
        )

    def to(self, device: torch.device | str) -> "PromptEmbedding":
        """The same on another device."""
        return PromptEmbedding(
            self.conditional.to(device),
            self.unconditional.to(device),
            self.negative.to(device),
            None if self.perp_neg is None else self.perp_neg.to(device),
        )


@dataclass
class NoisePredictions:
    """A prior's noise predictions of x_t, each (N, ...), in single precision.

    `unconditional` is what classifier-free guidance runs against; see `Prior.noise_predictions`.
    """

    conditional: Tensor
    unconditional: Tensor
    negative: Tensor | None = None
    perp_neg: WeightedNegatives | None = None

    @property
    def condition(self) -> Tensor:
        """What guidance scales: d_c = eps_c - eps_u, steered away from Perp-Neg's negatives where there are any."""
        condition = self.conditional - self.unconditional
        if self.perp_neg is None:
            return condition
        return perp_neg_condition(condition, self.unconditional, self.perp_neg)

    def guided(self, guidance_scale: float) -> Tensor:
        """eps_w = eps_u + w d_c, eq. (24)."""
        if guidance_scale == 1 and self.perp_neg is None:
            return self.conditional
        return self.unconditional + guidance_scale * self.condition


class Prior(nn.Module):
    """A pretrained diffusion model, frozen.

    Attributes:
        num_train_timesteps: T; timesteps are integers in [0, T).
        latent_shape: shape of one particle in the model's own space.
        image_size: side of the decoded images in pixels.
        fingerprint: which model, revision and precision, for caches and logs.
        is_bundled: whether it is the prior that ships.
        is_latent: whether a decoder lies between its particles and images.
    """

    num_train_timesteps: int
    latent_shape: tuple[int, ...]
    image_size: int
    fingerprint: str
    is_bundled: bool = False
    is_latent: bool = False
    unet: Any  # the noise network, where the prior has one

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(iter([*self.parameters(), *self.buffers()])).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights; what goes in and comes out is single precision."""
        return next((parameter.dtype for parameter in self.parameters()), torch.float32)

    def train(self, mode: bool = True) -> "Prior":
        """Stays in eval mode: a prior is never trained."""
        return super().train(False)

    def alpha(self, t: int | Tensor) -> Tensor:
        """Signal level alpha_t: 0-dim for an int, broadcastable against (N, *latent_shape) for t (N,)."""
        raise NotImplementedError

    def sigma(self, t: int | Tensor) -> Tensor:
        """Noise level sigma_t, shaped like `alpha`."""
        raise NotImplementedError

    def embed(self, prompt: str, negative_prompt: str = "") -> PromptEmbedding:
        """Text embeddings, cached."""
        raise NotImplementedError

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """Noise prediction of x_t (N, ...) for text (N, L, D), differentiable: (N, ...)."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1], of any size, to particles (N, *latent_shape), differentiable."""
        raise NotImplementedError

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        """Particles to images (N, 3, H, W) in [0, 1]; `clamp=False` lets values and gradients pass the bounds."""
        raise NotImplementedError

    @torch.no_grad()
    def noise_predictions(
        self, x_t: Tensor, t: int | Tensor, embedding: PromptEmbedding, negative: bool = False
    ) -> NoisePredictions:
        """Predictions for all prompts in one network call: x_t (N, ...), t int or (N,).

        Without `negative`, `unconditional` is the prediction for the negative prompt, the convention of diffusers (the
        two coincide where there is none); with it, empty and negative prompt are kept apart, as NFSD needs.

        Raises:
            UserError: x_t of another shape than the prior's, or t outside [0, T).
        """
        self._check(x_t, t)
        n = len(x_t)
        embedding = embedding.expand(n)
        if negative:
            texts = [embedding.conditional, embedding.unconditional, embedding.negative]
        else:
            texts = [embedding.conditional, embedding.negative]
        n_plain = len(texts)
        if embedding.perp_neg is not None:
            texts.extend(embedding.perp_neg.values.unbind(1))
        copies = len(texts)
        t_all = t if isinstance(t, int) else t.repeat(copies)
        noise = self.raw_predict(torch.cat([x_t] * copies), t_all, torch.cat(texts))
        parts = noise.split(n)
        predictions = NoisePredictions(*parts[:n_plain])
        if embedding.perp_neg is not None:
            predictions.perp_neg = WeightedNegatives(torch.stack(parts[n_plain:], 1), embedding.perp_neg.weights)
        return predictions

    @torch.no_grad()
    def predict_noise(
        self, x_t: Tensor, t: int | Tensor, embedding: PromptEmbedding, guidance_scale: float = 7.5
    ) -> Tensor:
        """eps_w(x_t), eq. (24): x_t (N, ...), t int or (N,) -> (N, ...). guidance_scale = 1 asks the prompt alone.

        Raises:
            UserError: x_t of another shape than the prior's, or t outside [0, T).
        """
        self._check(x_t, t)
        if guidance_scale == 1 and embedding.perp_neg is None:
            return self.raw_predict(x_t, t, embedding.expand(len(x_t)).conditional)
        return self.noise_predictions(x_t, t, embedding).guided(guidance_scale)

    def _check(self, x_t: Tensor, t: int | Tensor) -> None:
        if tuple(x_t.shape[1:]) != self.latent_shape:
            raise UserError(
                f"x_t of shape {tuple(x_t.shape)} does not fit the prior; accepted: (N, {str(self.latent_shape)[1:]}."
            )
        # A tensor's values are not looked at: that would wait for the GPU in every step.
        if isinstance(t, int) and not 0 <= t < self.num_train_timesteps:
            raise UserError(f"t={t} is no timestep; accepted: 0 to {self.num_train_timesteps - 1}.")


class TabulatedPrior(Prior):
    """A variance-preserving prior with T noise levels: alpha_t^2 + sigma_t^2 = 1.

    Args:
        alphas_cumprod: alpha_t^2 for each t, (T,).
        latent_shape: of one particle.
    """

    alphas_cumprod: Tensor

    def __init__(self, alphas_cumprod: Tensor, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("alphas_cumprod", alphas_cumprod.float())
        self.num_train_timesteps = len(alphas_cumprod)
        self.latent_shape = tuple(latent_shape)

    def alpha(self, t: int | Tensor) -> Tensor:
        return self._level(t).sqrt()

    def sigma(self, t: int | Tensor) -> Tensor:
        return (1 - self._level(t)).sqrt()

    def _level(self, t: int | Tensor) -> Tensor:
        level = self.alphas_cumprod[t]
        return level if level.ndim == 0 else level.reshape(-1, *[1] * len(self.latent_shape))


def noise_from_output(output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor, prediction_type: str) -> Tensor:
    """Noise prediction from a network's output, by what the network was trained to predict.

    Raises:
        UserError: a prediction type other than epsilon, v_prediction, sample.
    """
    if prediction_type == "epsilon":
        return output
    if prediction_type == "v_prediction":  # v = alpha eps - sigma x_0 (Salimans & Ho, 2022)
        return alpha * output + sigma * x_t
    if prediction_type == "sample":
        return (x_t - alpha * output) / sigma
    raise UserError(
        f"prediction_type={prediction_type!r} of the scheduler is unknown; accepted: epsilon, v_prediction, sample."
    )
