"""Camera conditioning of a noise network (ProlificDreamer, Wang et al., 2024, section 3.3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

MATRIX_SIZE = 16  # numbers of a 4 x 4 camera matrix


class CameraEmbedding(nn.Module):
    """Two trained layers that map a camera matrix to a summand of a U-Net's time embedding.

    The last layer starts at zero, as in LoRA: before training, cameras do not change the U-Net's predictions.

    Args:
        unet: diffusers' UNet2DModel or UNet2DConditionModel; gives the width and the device, and is not changed.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        width = unet.time_embedding.linear_2.out_features
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(MATRIX_SIZE, width), nn.SiLU(), last).to(unet.device)

    @contextmanager
    def added_to(self, unet: Any, cameras: Tensor) -> Iterator[None]:
        """Context in which the time embedding of `unet` includes the cameras.

        It uses a hook rather than diffusers' class embedding, which the prior that shares the U-Net would need as well.

        Args:
            unet: U-Net whose input is (N, ...).
            cameras: flattened camera matrices, (N, 16).
        """
        summand: Tensor = self.layers(cameras.float())

        def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return output + summand.to(output.dtype)

        hook = unet.time_embedding.register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()
