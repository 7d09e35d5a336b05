"""Choice of the images that the kernel compares: noisy, clean or denoised."""

from torch import Tensor

KERNEL_INPUTS = ("noisy", "clean", "denoised")


def select_kernel_input(
    kind: str, clean: Tensor, noisy: Tensor, predicted_noise: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """Input of the repulsive force.

    Args:
        kind: one of KERNEL_INPUTS: `noisy`, x_t (the paper); `clean`, x_0; or `denoised`, the one-step estimate
            (x_t - sigma_t eps) / alpha_t, with the noise prediction held fixed.
        clean: x_0, (N, ...).
        noisy: x_t = alpha_t x_0 + sigma_t noise, (N, ...).
        predicted_noise: the prior's noise prediction eps of x_t, (N, ...).
        alpha: signal level alpha_t, broadcastable.
        sigma: noise level sigma_t, broadcastable.

    Returns:
        (N, ...)
    """
    if kind == "denoised":
        return (noisy - sigma * predicted_noise) / alpha
    return noisy if kind == "noisy" else clean
