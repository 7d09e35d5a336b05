"""Interface of diffusion priors, with `PromptEmbedding` and `NoisePredictions`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError, in_range, one_of
from .perp_neg import WeightedNegatives, perp_neg_condition
from .row_chunks import predict_rows

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj")  # attention layers of diffusers' U-Nets
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")  # of diffusers' schedulers


@dataclass
class PromptEmbedding:
    """Text embeddings of a prompt and its negatives.

    Attributes:
        conditional: embedding of the prompt, (1 or N, L, D).
        unconditional: embedding of the empty prompt, (1 or N, L, D).
        negative: embedding of the negative prompt, (1 or N, L, D); equals `unconditional` where there is none.
        perp_neg: negatives of Perp-Neg, each with a weight.
    """

    conditional: Tensor
    unconditional: Tensor
    negative: Tensor
    perp_neg: WeightedNegatives | None = None

    def expand(self, n_particles: int) -> "PromptEmbedding":
        """Repeat for N particles, without a copy."""
        return PromptEmbedding(
            self.conditional.expand(n_particles, -1, -1),
            self.unconditional.expand(n_particles, -1, -1),
            self.negative.expand(n_particles, -1, -1),
            None if self.perp_neg is None else self.perp_neg.expand(n_particles),
        )

    def to(self, device: torch.device | str) -> "PromptEmbedding":
        """Move to a device."""
        return PromptEmbedding(
            self.conditional.to(device),
            self.unconditional.to(device),
            self.negative.to(device),
            None if self.perp_neg is None else self.perp_neg.to(device),
        )


@dataclass
class NoisePredictions:
    """A prior's noise predictions of x_t, in single precision.

    Attributes:
        conditional: eps_c, prediction for the prompt, (N, ...).
        unconditional: eps_u, the prediction that classifier-free guidance starts from, (N, ...); see
            `Prior.noise_predictions`.
        negative: prediction for the negative prompt, (N, ...), where it is kept apart from `unconditional`.
        perp_neg: predictions for Perp-Neg's negatives, with their weights.
        rescale: maps a guided prediction and `conditional` to the prediction that is used, where a model rescales
            guided predictions (Qwen-Image); None: the guided prediction itself.
    """

    conditional: Tensor
    unconditional: Tensor
    negative: Tensor | None = None
    perp_neg: WeightedNegatives | None = None
    rescale: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def condition(self) -> Tensor:
        """Direction that guidance scales: d_c = eps_c - eps_u, steered away from the negatives of Perp-Neg."""
        condition = self.conditional - self.unconditional
        if self.perp_neg is None:
            return condition
        return perp_neg_condition(condition, self.unconditional, self.perp_neg)

    def guided(self, guidance_scale: float) -> Tensor:
        """Guided noise prediction eps_w = eps_u + w d_c, eq. (24), with w = guidance_scale."""
        if guidance_scale == 1 and self.perp_neg is None:
            return self.conditional
        guided = self.unconditional + guidance_scale * self.condition
        return guided if self.rescale is None else self.rescale(guided, self.conditional)


class Prior(nn.Module):
    """Base class of frozen pretrained diffusion models.

    Attributes:
        num_train_timesteps: T; timesteps are integers in [0, T).
        latent_shape: shape of one particle in the model's own space.
        image_size: side of the decoded images in pixels.
        fingerprint: model, revision and precision as text, for caches and logs.
        is_bundled: whether the prior ships with this package.
        is_latent: whether particles are latents of an autoencoder, not pixels.
        network_calls: evaluations of the noise network so far, one for each row of a batch: the conditional and the
            unconditional prediction of a latent are two.
        rows_per_call: most rows in one network call without gradient; None: all. Falls when a GPU's memory runs out.
        prediction_type: quantity that the network predicts, one of PREDICTION_TYPES; None: an exact prior without
            network, or flow matching.
        denoises_pure_noise: whether `predict_clean` is defined where alpha_t = 0.
        skips_unit_guidance: whether a guidance scale of 1 needs no prediction without prompt, as for models that take
            the guidance scale as an input.
        lora_targets: names of the linear layers of the network that LoRA adapts.
        embedded_guidance: guidance scale that the network takes as an input, as FLUX.1 dev does; None: it takes none.
    """

    num_train_timesteps: int
    latent_shape: tuple[int, ...]
    image_size: int
    fingerprint: str
    is_bundled: bool = False
    is_latent: bool = False
    network_calls: int = 0
    rows_per_call: int | None = None
    prediction_type: str | None = None
    denoises_pure_noise: bool = False
    skips_unit_guidance: bool = False
    lora_targets: tuple[str, ...] = LORA_TARGETS
    embedded_guidance: float | None = None
    network: Any  # the noise network, where the prior has one

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(iter([*self.parameters(), *self.buffers()])).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights; inputs and outputs are in single precision."""
        return next((parameter.dtype for parameter in self.parameters()), torch.float32)

    @cached_property
    def last_timestep(self) -> int:
        """Largest timestep with alpha_t > 0, at which sampling starts: T - 1, or less with a zero terminal SNR.

        Where alpha_t = 0, x_t is pure noise and sigma_t / alpha_t is infinite.
        """
        return next(t for t in range(self.num_train_timesteps - 1, -1, -1) if float(self.alpha(t)) > 0)

    def train(self, mode: bool = True) -> "Prior":
        """Stay in eval mode whatever `mode` is: a prior is never trained."""
        return super().train(False)

    def alpha(self, t: int | Tensor) -> Tensor:
        """Signal level alpha_t: 0-dim for an int, broadcastable against (N, *latent_shape) for t (N,)."""
        raise NotImplementedError

    def sigma(self, t: int | Tensor) -> Tensor:
        """Noise level sigma_t, with the shape of `alpha`."""
        raise NotImplementedError

    def embed(self, prompt: str, negative_prompt: str = "") -> PromptEmbedding:
        """Text embeddings of a prompt, the empty prompt and a negative prompt."""
        raise NotImplementedError

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """Noise prediction of x_t (N, ...) for text embeddings (N, L, D), differentiable: (N, ...).

        Implementations add N to `network_calls`.
        """
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, 3, H, W) in [0, 1], of any size, as particles (N, *latent_shape), differentiable."""
        raise NotImplementedError

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        """Decode particles to images (N, 3, H, W) in [0, 1]; with `clamp=False` values may lie outside [0, 1]."""
        raise NotImplementedError

    @torch.no_grad()
    def noise_predictions(
        self,
        x_t: Tensor,
        t: int | Tensor,
        embedding: PromptEmbedding,
        negative: bool = False,
        unconditional: bool = True,
    ) -> NoisePredictions:
        """Noise predictions for all prompts, in one network call where memory allows.

        Args:
            x_t: noisy particles, (N, ...).
            t: timestep, int or (N,).
            embedding: the prompts.
            negative: predict for the empty and for the negative prompt, as NFSD needs. Otherwise `unconditional` of
                the result is the prediction for the negative prompt, as in diffusers; without a negative prompt the two
                are equal.
            unconditional: predict without the prompt too. Otherwise `unconditional` of the result is the prediction
                for the prompt, so that every guidance scale gives that prediction; Perp-Neg is left out.

        Raises:
            UserError: x_t does not have the prior's shape, or t lies outside [0, T).
        """
        self._check(x_t, t)
        return self._for_prompts(self.raw_predict, x_t, t, embedding, negative, unconditional)

    def _for_prompts(
        self,
        network: Callable[[Tensor, int | Tensor, Tensor], Tensor],
        x_t: Tensor,
        t: int | Tensor,
        embedding: PromptEmbedding,
        negative: bool = False,
        unconditional: bool = True,
    ) -> NoisePredictions:
        """Output of `network`, a function as `raw_predict`, for all prompts; see `noise_predictions`."""
        n = len(x_t)
        embedding = embedding.expand(n)
        texts = [embedding.conditional]
        if unconditional:
            texts.append(embedding.unconditional if negative else embedding.negative)
        if negative:
            texts.append(embedding.negative)
        perp_neg = embedding.perp_neg if unconditional else None
        if perp_neg is not None:
            texts.extend(perp_neg.values.unbind(1))
        copies = len(texts)
        t_all = t if isinstance(t, int) else t.repeat(copies)
        noise = predict_rows(self, torch.cat([x_t] * copies), t_all, torch.cat(texts), network)
        parts = list(torch.split(noise, n))
        conditional = parts.pop(0)
        predictions = NoisePredictions(
            conditional, parts.pop(0) if unconditional else conditional, parts.pop(0) if negative else None
        )
        if perp_neg is not None:
            predictions.perp_neg = WeightedNegatives(torch.stack(parts, 1), perp_neg.weights)
        return predictions

    @torch.no_grad()
    def predict_noise(
        self, x_t: Tensor, t: int | Tensor, embedding: PromptEmbedding, guidance_scale: float = 7.5
    ) -> Tensor:
        """Guided noise prediction eps_w(x_t), eq. (24).

        Args:
            x_t: noisy particles, (N, ...).
            t: timestep, int or (N,).
            embedding: the prompts.
            guidance_scale: weight w; 1: the prediction for the prompt alone, in half the computation.

        Returns:
            (N, ...)

        Raises:
            UserError: x_t does not have the prior's shape, or t lies outside [0, T).
        """
        self._check(x_t, t)
        if guidance_scale == 1 and embedding.perp_neg is None:
            return predict_rows(self, x_t, t, embedding.expand(len(x_t)).conditional)
        return self.noise_predictions(x_t, t, embedding).guided(guidance_scale)

    def predict_clean(
        self, x_t: Tensor, t: int | Tensor, embedding: PromptEmbedding, guidance_scale: float = 7.5
    ) -> Tensor:
        """Guided one-step estimate D(x_t) = (x_t - sigma_t eps_w) / alpha_t of x_0, (N, ...); see `predict_noise`.

        It needs alpha_t > 0, unless the prior has `denoises_pure_noise`.
        """
        return (x_t - self.sigma(t) * self.predict_noise(x_t, t, embedding, guidance_scale)) / self.alpha(t)

    def _check(self, x_t: Tensor, t: int | Tensor) -> None:
        if tuple(x_t.shape[1:]) != self.latent_shape:
            raise UserError(
                f"x_t of shape {tuple(x_t.shape)} does not fit the prior; accepted: (N, {str(self.latent_shape)[1:]}."
            )
        if isinstance(t, int):  # values of a tensor are not checked: that would synchronize with the GPU in every step
            in_range("t", t, 0, self.num_train_timesteps - 1)


class TabulatedPrior(Prior):
    """Base class of variance-preserving priors with a table of T noise levels: alpha_t^2 + sigma_t^2 = 1.

    Args:
        alphas_cumprod: alpha_t^2 for each t, (T,).
        latent_shape: shape of one particle.

    Raises:
        UserError: a level outside [0, 1], or only zeros.
    """

    alphas_cumprod: Tensor

    def __init__(self, alphas_cumprod: Tensor, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        if not (((alphas_cumprod >= 0) & (alphas_cumprod <= 1)).all() and (alphas_cumprod > 0).any()):
            raise UserError("alphas_cumprod is impossible; accepted: one number from 0 to 1 for each t, not all 0.")
        self.register_buffer("alphas_cumprod", alphas_cumprod.float())
        self.num_train_timesteps = len(alphas_cumprod)
        self.latent_shape = tuple(latent_shape)

    def alpha(self, t: int | Tensor) -> Tensor:
        """See `Prior.alpha`."""
        return self._level(t).sqrt()

    def sigma(self, t: int | Tensor) -> Tensor:
        """See `Prior.sigma`."""
        return (1 - self._level(t)).sqrt()

    def _level(self, t: int | Tensor) -> Tensor:
        level = self.alphas_cumprod[t]
        return level if level.ndim == 0 else level.reshape(-1, *[1] * len(self.latent_shape))


def timesteps_of_rows(t: int | Tensor, x: Tensor) -> Tensor:
    """Timestep of each row of x (N, ...), (N,), on its device.

    diffusers' U-Nets copy a number to the device, and wait for that copy; here the device fills the tensor.
    """
    if isinstance(t, Tensor):
        return t.to(x.device).expand(len(x))
    return torch.full((len(x),), t, device=x.device)


def noise_from_output(output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor, prediction_type: str) -> Tensor:
    """Convert a network's output to a noise prediction.

    Args:
        output: output of the network, (N, ...).
        x_t: input of the network, (N, ...).
        alpha: signal level alpha_t, broadcastable.
        sigma: noise level sigma_t, broadcastable.
        prediction_type: quantity that the network predicts, one of PREDICTION_TYPES.

    Returns:
        (N, ...)

    Raises:
        UserError: an unknown prediction type.
    """
    one_of("prediction_type", prediction_type, PREDICTION_TYPES)
    if prediction_type == "epsilon":
        return output
    if prediction_type == "v_prediction":  # v = alpha eps - sigma x_0 (Salimans & Ho, 2022)
        return alpha * output + sigma * x_t
    return (x_t - alpha * output) / sigma.where(sigma > 0, torch.inf)  # without noise, the noise is 0
