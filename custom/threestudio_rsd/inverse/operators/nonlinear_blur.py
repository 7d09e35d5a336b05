"""Nonlinear blur: motion blur in linear light, followed by the response of a saturating camera.

The nonlinear blur of other works is a network trained on the GOPRO data (Tran et al., 2021), which needs a download.
This operator combines the same two effects, motion blur and camera response, in closed form.
"""

from typing import Any

import torch
from deepinv.physics import BlurFFT, Physics
from torch import Tensor

# sRGB curve (IEC 61966-2-1): linear near 0, so that slopes are finite everywhere.
LINEAR_SLOPE = 12.92
OFFSET = 0.055
EXPONENT = 2.4
ENCODED_JOIN = 0.04045
LINEAR_JOIN = 0.0031308


class NonlinearBlur(Physics):
    """y = encode(1 - exp(-exposure * (kernel * decode(x)))) with the sRGB curve and circular borders; differentiable.

    Args:
        kernel: blur in linear light, (1, 1, h, w), sums to 1.
        image_shape: (3, H, W).
        exposure: amount of light that the camera gathers; bright areas saturate more as it grows.
    """

    def __init__(self, kernel: Tensor, image_shape: tuple[int, int, int], exposure: float) -> None:
        super().__init__()
        self.exposure = exposure
        self.blur = BlurFFT(img_size=image_shape, filter=kernel)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:  # noqa: N802 deepinv's name
        """(B, 3, H, W) -> (B, 3, H, W), in [0, 1] for x in [0, 1]."""
        light = self.blur.A(decode_srgb(x))
        return encode_srgb(1 - torch.exp(-self.exposure * light))


def decode_srgb(x: Tensor) -> Tensor:
    """Convert sRGB values to linear light, both in [0, 1]; the curve is continued beyond."""
    power = ((x.clamp_min(ENCODED_JOIN) + OFFSET) / (1 + OFFSET)) ** EXPONENT
    return torch.where(x > ENCODED_JOIN, power, x / LINEAR_SLOPE)


def encode_srgb(light: Tensor) -> Tensor:
    """Convert linear light to sRGB values, both in [0, 1]; the curve is continued beyond."""
    power = (1 + OFFSET) * light.clamp_min(LINEAR_JOIN) ** (1 / EXPONENT) - OFFSET
    return torch.where(light > LINEAR_JOIN, power, light * LINEAR_SLOPE)
