"""What tells a noise network from where its image was seen (ProlificDreamer, Wang et al., 2024, section 3.3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

MATRIX_SIZE = 16  # numbers of a 4 x 4 camera matrix


class CameraEmbedding(nn.Module):
    """Two trained layers that turn a camera matrix into an addend of a U-Net's time embedding.

    The last layer starts at zero, as a LoRA does: before training the network predicts what it did without.

    Args:
        unet: diffusers' UNet2DModel or UNet2DConditionModel; is only read.
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
        """While this lasts, `unet` sees its (N, ...) input from `cameras` (N, 16); afterwards it is as it was.

        A hook rather than diffusers' own class embedding, which a prior that shares the U-Net would have to be given
        as well.
        """
        addend = self.layers(cameras.float())

        def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return output + addend.to(output.dtype)

        hook = unet.time_embedding.register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()
