"""Phase retrieval from oversampled Fourier amplitudes (DPS, [5])."""

from typing import Any

import torch
from deepinv.physics import PhaseRetrieval, Physics
from deepinv.physics.structured_random import StructuredRandom
from torch import Tensor


class FourierAmplitude(PhaseRetrieval):
    """y = |F P x|: P pads with zeros, F is the orthonormal Fourier transform of each channel.

    This is DPS's operator. deepinv's is its square, |F P x|^2, whose values span six decades for images in [0, 1].
    Shifting an image within the padding, or rotating it by 180 degrees, leaves the amplitudes unchanged.

    Args:
        image_shape: (3, H, W).
        padded_shape: (3, H', W') with H' >= H and W' >= W.
    """

    def __init__(self, image_shape: tuple[int, int, int], padded_shape: tuple[int, int, int]) -> None:
        transform = StructuredRandom(
            img_size=image_shape,
            output_size=padded_shape,
            n_layers=0.5,  # the Fourier transform alone, without a random phase mask
            transform_func=_fourier,
            transform_func_inv=_inverse_fourier,
            diagonals=torch.empty(0),
        )
        super().__init__(transform)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:  # noqa: N802 deepinv's name
        """(B, 3, H, W) -> (B, 3, H', W'); the gradient at an amplitude of 0 is 0."""
        amplitudes: Tensor = self.B(x).abs()
        return amplitudes

    A_vjp = Physics.A_vjp  # PhaseRetrieval's own is that of the square


def _fourier(x: Tensor) -> Tensor:
    transformed: Tensor = torch.fft.fft2(x, norm="ortho")
    return transformed


def _inverse_fourier(x: Tensor) -> Tensor:
    transformed: Tensor = torch.fft.ifft2(x, norm="ortho")
    return transformed
