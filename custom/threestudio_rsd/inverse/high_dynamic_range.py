"""High dynamic range: the measurement is overexposed and clipped (Mardani et al., 2023)."""

from deepinv.physics import Physics
from torch import Tensor

EXPOSURE = 2.0


class HighDynamicRange(Physics):
    """f(x) = clip(2 x, -1, 1) in units of [-1, 1]; images (M, C, H, W) in [0, 1] in and out."""

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return (EXPOSURE * (x - 0.5) + 0.5).clamp(0, 1)
