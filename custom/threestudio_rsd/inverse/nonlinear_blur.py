"""A nonlinear blur: light is blurred, not the values that a camera stores for it.

The field's usual one (Tran et al., 2021, in DPS) is a network that would have to be downloaded; this one is ours, needs
nothing, and has the same trait: bright things spread further than dark ones, and the sensor saturates.
"""

from deepinv.physics import BlurFFT, Physics
from torch import Tensor

CAMERA_GAMMA = 2.2  # of the response that turns light into stored values
DARKEST = 1e-4  # where the response's slope is still finite


class NonlinearBlur(Physics):
    """f(x) = min(exposure h * x^2.2, 1)^(1 / 2.2); images (M, C, H, W) in [0, 1] in and out.

    Args:
        kernel: h, (1, 1, n, n).
        image_shape: (C, H, W).
        exposure: light that is gathered; above 1 the brightest saturates.
    """

    def __init__(self, kernel: Tensor, image_shape: tuple[int, int, int], exposure: float) -> None:
        super().__init__()
        self.blur = BlurFFT(img_size=image_shape, filter=kernel)
        self.exposure = exposure

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        light = self.blur.A(x.clamp(DARKEST, 1) ** CAMERA_GAMMA)
        return (self.exposure * light).clamp(DARKEST, 1) ** (1 / CAMERA_GAMMA)
