"""The judge of the bundled world: a supervised classifier that takes no part in any guidance."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import UserError, first_line
from ..files import data_path
from ..finite import require_finite
from .world import ATTRIBUTES, CLASSES, COLORS

IMAGE_SIZE = 64
WIDTHS = (32, 64, 96, 128)
FEATURES = 128


class ToyworldJudge(nn.Module):
    """Classifier: images (N, 3, 64, 64) in [0, 1] -> logits of class, color, view, accent and background."""

    CLASSES, COLORS = CLASSES, COLORS

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels_out in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(channels_in, channels_out, 3, 2, 1), nn.GroupNorm(8, channels_out), nn.GELU()]
        side = IMAGE_SIZE // 2 ** len(WIDTHS)
        self.convolutions = nn.Sequential(*layers)
        self.projection = nn.Linear(WIDTHS[-1] * side**2, FEATURES)
        self.heads = nn.ModuleDict({attribute: nn.Linear(FEATURES, count) for attribute, count in ATTRIBUTES.items()})

    @classmethod
    def bundled(cls, device: torch.device | str = "cpu") -> "ToyworldJudge":
        """The judge that ships with the package."""
        return cls.from_folder(data_path("load/toyworld/judge")).to(device)

    @classmethod
    def from_folder(cls, folder: Path | str) -> "ToyworldJudge":
        """Load the weights `model.safetensors` of a folder.

        Args:
            folder: folder of the weights.

        Raises:
            UserError: the file is missing, or does not fit.
        """
        file = Path(folder) / "model.safetensors"
        if not file.is_file():
            raise UserError(f"The judge's weights {str(file)!r} are missing; reinstall the package.")
        judge = cls()
        try:
            judge.load_state_dict(load_file(file))
        except RuntimeError as error:
            raise UserError(
                f"{str(file)!r} does not hold a judge's weights ({first_line(error)}); accepted: the folder that "
                "ships, or one that `rsd toyworld train` wrote."
            ) from error
        return judge.float().requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """Features (N, 128) from which all attributes are predicted.

        Args:
            images: images (N, 3, H, W) in [0, 1], resized to 64x64.
        """
        if images.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
            images = F.interpolate(
                images, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False, antialias=True
            )
        return F.gelu(self.projection(self.convolutions(images * 2 - 1).flatten(1)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.features(images)
        return {attribute: head(features) for attribute, head in self.heads.items()}

    @torch.no_grad()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Most likely value of each attribute, as indices (N,)."""
        require_finite("the images for the classifier", images)  # argmax of NaN is the first class
        return {attribute: logits.argmax(1) for attribute, logits in self(images).items()}
