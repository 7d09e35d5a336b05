"""High dynamic range: an exposure that saturates (RED-diff, [41])."""

from typing import Any

from deepinv.physics import Physics
from torch import Tensor


class HighDynamicRange(Physics):
    """f(v) = clip(exposure * v, -1, 1) for images v in [-1, 1]; here for x = (v + 1) / 2 in [0, 1], and y alike.

    Args:
        exposure: slope of the curve about mid gray; 2 in RED-diff.
    """

    def __init__(self, exposure: float) -> None:
        super().__init__()
        self.exposure = exposure

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W) in [0, 1]; no gradient where it saturates."""
        return (self.exposure * (x - 0.5) + 0.5).clamp(0, 1)
