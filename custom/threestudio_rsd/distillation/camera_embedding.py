"""Camera conditioning of a noise network (ProlificDreamer, Wang et al., 2024, section 3.3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import UserError

MATRIX_SIZE = 16  # numbers of a 4 x 4 camera matrix


class CameraEmbedding(nn.Module):
    """Two trained layers that map a camera matrix to a summand of a network's time embedding.

    The last layer starts at zero, as in LoRA: before training, cameras do not change the network's predictions.

    Args:
        network: U-Net or transformer of diffusers; gives the width and the device, and is not changed.

    Raises:
        UserError: the network has no time embedding of diffusers' usual form.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        width = _time_embedding(network).linear_2.out_features
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(MATRIX_SIZE, width), nn.SiLU(), last).to(network.device)

    @contextmanager
    def added_to(self, network: Any, cameras: Tensor) -> Iterator[None]:
        """Context in which the time embedding of `network` includes the cameras.

        It uses a hook rather than diffusers' class embedding, which the prior that shares the network would need too.

        Args:
            network: network whose input is (N, ...).
            cameras: flattened camera matrices, (N, 16).
        """
        summand: Tensor = self.layers(cameras.float())

        def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return output + summand.to(output.dtype)

        hook = _time_embedding(network).register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()


def _time_embedding(network: Any) -> Any:
    """Layers that embed the timestep: `time_embedding` of U-Nets, or that of `time_text_embed` in transformers."""
    combined = getattr(network, "time_text_embed", None)
    found = getattr(network, "time_embedding", None) or getattr(combined, "timestep_embedder", None)
    if not hasattr(found, "linear_2"):
        raise UserError(
            f"camera_condition needs a time embedding of diffusers' usual form, which {type(network).__name__} lacks; "
            "accepted: null."
        )
    return found
