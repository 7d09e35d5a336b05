"""A nonlinear blur: light is blurred, not the values that a camera stores for it.

The field's usual one (Tran et al., 2021, in DPS) is a network that would have to be downloaded; this one is ours, needs
nothing, and has the same trait: bright things spread further than dark ones, and the sensor saturates.
"""

from typing import Any

from deepinv.physics import Physics
from torch import Tensor

CAMERA_GAMMA = 2.2  # of the response that turns light into stored values
EXPOSURE = 1.2  # above 1, so that the brightest light saturates
DARKEST = 1e-4  # where the response's slope is still finite


class NonlinearBlur(Physics):
    """f(x) = min(1.2 h * x^2.2, 1)^(1 / 2.2); images (M, C, H, W) in [0, 1] in and out.

    Args:
        blur: the linear blur h.
    """

    def __init__(self, blur: Any) -> None:
        super().__init__()
        self.blur = blur

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        light = self.blur.A(x.clamp(DARKEST, 1) ** CAMERA_GAMMA)
        return (EXPOSURE * light).clamp(DARKEST, 1) ** (1 / CAMERA_GAMMA)
