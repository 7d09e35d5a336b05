"""High dynamic range: overexposure that saturates (RED-diff, [41])."""

from typing import Any

from deepinv.physics import Physics
from torch import Tensor


class HighDynamicRange(Physics):
    """f(v) = clip(exposure * v, -1, 1) for images v in [-1, 1].

    Both images x = (v + 1) / 2 and measurements y = (f + 1) / 2 are in [0, 1] here.

    Args:
        exposure: slope of the curve about mid gray; 2 in RED-diff.
    """

    def __init__(self, exposure: float) -> None:
        super().__init__()
        self.exposure = exposure

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:  # noqa: N802 deepinv's name
        """(B, C, H, W) -> (B, C, H, W) in [0, 1]; the gradient is 0 where it saturates."""
        return (self.exposure * (x - 0.5) + 0.5).clamp(0, 1)
