"""A blur that is not linear in the image: motion in linear light, seen by a camera that saturates.

This operator is ours. The field's usual one is a network trained on the GOPRO data (Tran et al., 2021), which needs a
download; this has the same two ingredients, motion blur and a camera's response, in closed form.
"""

from typing import Any

import torch
from deepinv.physics import BlurFFT, Physics
from torch import Tensor

# sRGB's curve (IEC 61966-2-1): linear near 0, so that slopes are finite everywhere.
LINEAR_SLOPE = 12.92
OFFSET = 0.055
EXPONENT = 2.4
ENCODED_JOIN = 0.04045
LINEAR_JOIN = 0.0031308


class NonlinearBlur(Physics):
    """y = encode(1 - exp(-exposure * (kernel * decode(x)))), with the sRGB curve and circular borders; smooth.

    Args:
        kernel: blur in linear light, (1, 1, h, w), sums to 1.
        image_shape: (3, H, W).
        exposure: light that the camera gathers; the larger, the more the lights saturate.
    """

    def __init__(self, kernel: Tensor, image_shape: tuple[int, int, int], exposure: float) -> None:
        super().__init__()
        self.exposure = exposure
        self.blur = BlurFFT(img_size=image_shape, filter=kernel)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W), in [0, 1] for x in [0, 1]."""
        light = self.blur.A(decode_srgb(x))
        return encode_srgb(1 - torch.exp(-self.exposure * light))


def decode_srgb(x: Tensor) -> Tensor:
    """Linear light of sRGB values, both in [0, 1]; beyond, the curve goes on."""
    power = ((x.clamp_min(ENCODED_JOIN) + OFFSET) / (1 + OFFSET)) ** EXPONENT
    return torch.where(x > ENCODED_JOIN, power, x / LINEAR_SLOPE)


def encode_srgb(light: Tensor) -> Tensor:
    """SRGB values of linear light, both in [0, 1]; beyond, the curve goes on."""
    power = (1 + OFFSET) * light.clamp_min(LINEAR_JOIN) ** (1 / EXPONENT) - OFFSET
    return torch.where(light > LINEAR_JOIN, power, light * LINEAR_SLOPE)
