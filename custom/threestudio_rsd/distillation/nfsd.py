"""Noise-free score distillation (Katzir et al., 2024; eq. 32)."""

from torch import Tensor

from .method import Method, Step

SMALL_T = 200  # below this timestep, of 1000, the residual needs no negative prompt
TRAINED_T = 1000


def nfsd_direction(
    unconditional: Tensor, conditional: Tensor, negative: Tensor, small_t: bool, guidance_scale: float
) -> Tensor:
    """Direction that NFSD descends: eps_u + w d_c for t < 200, else eps_u - eps_negative + w d_c, d_c = eps_c - eps_u.

    Args:
        unconditional: eps_u, noise prediction of x_t for the empty prompt, (N, ...).
        conditional: eps_c, noise prediction for the user's prompt, (N, ...).
        negative: eps_negative, noise prediction for the negative prompt, (N, ...).
        small_t: whether t lies below SMALL_T.
        guidance_scale: classifier-free guidance weight w.

    Returns:
        (N, ...)

    Example:
        >>> import torch
        >>> empty, prompt, negative = torch.tensor([[1.0]]), torch.tensor([[3.0]]), torch.tensor([[0.5]])
        >>> nfsd_direction(empty, prompt, negative, small_t=False, guidance_scale=7.5)  # 1 - 0.5 + 7.5 (3 - 1)
        tensor([[15.5000]])
    """
    condition = guidance_scale * (conditional - unconditional)
    if small_t:
        return unconditional + condition
    return unconditional - negative + condition


class NFSD(Method):
    """Noise-free score distillation; see `nfsd_direction`. Arguments: see `Method`."""

    needs_negative = True

    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`; T other than 1000 moves the switch in proportion."""
        small_t = bool(step.t * TRAINED_T < SMALL_T * self.prior.num_train_timesteps)
        predictions = step.predictions
        assert predictions.negative is not None
        conditional = predictions.guided(1)  # eps_u + d_c, with Perp-Neg in d_c
        return nfsd_direction(
            predictions.unconditional, conditional, predictions.negative, small_t, self.guidance_scale
        )
