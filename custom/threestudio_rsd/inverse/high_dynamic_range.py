"""High dynamic range: the measurement is overexposed and clipped (Mardani et al., 2023)."""

from deepinv.physics import Physics
from torch import Tensor


class HighDynamicRange(Physics):
    """f(x) = clip(exposure x, -1, 1) in units of [-1, 1]; images (M, C, H, W) in [0, 1] in and out.

    Args:
        exposure: slope of the curve.
    """

    def __init__(self, exposure: float) -> None:
        super().__init__()
        self.exposure = exposure

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return (self.exposure * (x - 0.5) + 0.5).clamp(0, 1)
