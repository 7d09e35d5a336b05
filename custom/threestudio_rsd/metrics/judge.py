"""The judge of the bundled world: a supervised classifier that never guides anything."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import UserError

WIDTHS = (24, 48, 96, 128)
# Names of the attributes as the weights have them, and the number of values of each.
HEADS = {"class": ("cls", 8), "colour": ("col", 8), "view": ("view", 4), "accent": ("acc", 3), "background": ("bg", 3)}


class ToyworldJudge(nn.Module):
    """Images (N, 3, 64, 64) in [0, 1] to logits of class, colour, view, accent and background."""

    CLASSES = ("mushroom", "snowman", "house", "ice cream", "tree", "rocket", "cup", "car")
    COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels_out in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(channels_in, channels_out, 3, 2, 1), nn.GroupNorm(8, channels_out), nn.GELU()]
        self.f = nn.Sequential(*layers)
        self.h = nn.Linear(WIDTHS[-1] * 16, 128)
        self.o = nn.ModuleDict({key: nn.Linear(128, count) for key, count in HEADS.values()})

    @classmethod
    def from_folder(cls, folder: Path | str) -> "ToyworldJudge":
        """Load the weights `model.safetensors` of a folder. Raises UserError where there are none."""
        file = Path(folder) / "model.safetensors"
        if not file.is_file():
            raise UserError(f"The judge's weights {str(file)!r} are missing; reinstall the package.")
        judge = cls()
        judge.load_state_dict(load_file(file))
        return judge.float().requires_grad_(False).eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.shape[-2:] != (64, 64):
            images = F.interpolate(images, (64, 64), mode="bilinear", align_corners=False, antialias=True)
        hidden = F.gelu(self.h(self.f(images * 2 - 1).flatten(1)))
        return {attribute: self.o[key](hidden) for attribute, (key, _) in HEADS.items()}

    @torch.no_grad()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Most likely value of each attribute, as indices (N,)."""
        return {attribute: logits.argmax(1) for attribute, logits in self(images).items()}
