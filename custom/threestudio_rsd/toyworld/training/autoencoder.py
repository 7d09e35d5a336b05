"""Training of the autoencoder: images (3, 64, 64) to latents (4, 16, 16) and back."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ...metrics.reconstruction import psnr
from . import settings
from .data import Renders
from .trainer import TrainingTask, bf16_autocast, train

KL_WEIGHT = 2e-4  # per latent dimension
GRADIENT_WEIGHT = 0.5  # weight of the L1 distance between image gradients
# Without BIAS and HINT_WEIGHT the training stays on a plateau for long, with wrong colors.
BIAS = 1.5  # initial bias of the convolutions of the residual stream; lets absolute colors pass the group norms
HINT_WEIGHT = 0.3  # pulls three latent channels towards the reduced image; 0 from half of the training on
HINT_SCALE = 1.5
CALIBRATION_IMAGES = 1024


class AutoencoderTask(TrainingTask):
    """Reconstruct images through a regularized latent space."""

    def __init__(self, renders: Renders, held_out: Renders) -> None:
        super().__init__()
        self.renders, self.held_out = renders, held_out
        self.model = AutoencoderKL(
            sample_size=64,
            latent_channels=4,
            block_out_channels=(32, 32, 64),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=2,
            mid_block_add_attention=False,
        ).to(memory_format=torch.channels_last)
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d) and ("conv_in" in name or "sampler" in name or "shortcut" in name):
                bias: Any = module.bias
                bias.data = BIAS * torch.sign(torch.randn_like(bias))

    def loss(self, batch_size: int) -> Tensor:
        images = self.renders.batch(torch.randint(len(self.renders), (batch_size,))) * 2 - 1
        images = images.to(memory_format=torch.channels_last)
        with bf16_autocast():
            posterior = self.model.encode(images).latent_dist
            mean, variance, log_variance = posterior.mean.float(), posterior.var.float(), posterior.logvar.float()
            latents = mean + torch.randn_like(mean) * variance.sqrt()
            error = self.model.decode(latents).sample.float() - images
        divergence = 0.5 * (mean**2 + variance - 1 - log_variance).mean()
        loss = error.abs().mean() + error.pow(2).mean() + F.avg_pool2d(error, 8).abs().mean()
        loss = loss + KL_WEIGHT * divergence
        for axis in (2, 3):
            loss = loss + GRADIENT_WEIGHT * error.diff(dim=axis).abs().mean()
        hint = HINT_WEIGHT * max(0.0, 1 - 2 * self.fraction)
        if hint > 0:
            loss = loss + hint * (latents[:, :3] - HINT_SCALE * F.avg_pool2d(images, 4)).abs().mean()
        result: Tensor = loss
        return result

    def evaluate(self, model: Any) -> dict[str, float]:
        images = self.held_out.batch(torch.arange(256))
        decoded = model.decode(model.encode(images * 2 - 1).latent_dist.mode()).sample / 2 + 0.5
        return {"psnr": float(psnr(decoded, images).mean())}


@torch.no_grad()
def normalize_latents(autoencoder: AutoencoderKL, images: Tensor) -> None:
    """Give every latent channel mean 0 and standard deviation 1, so that scaling_factor becomes 1.

    The affine map is folded into the convolutions on both sides of the latents.

    Args:
        autoencoder: network, changed in place.
        images: images over which mean and deviation are taken, (N, 3, 64, 64) in [0, 1].
    """
    latents = torch.cat([autoencoder.encode(part * 2 - 1).latent_dist.sample() for part in images.split(64)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    after = autoencoder.post_quant_conv
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= deviation.view(1, -1, 1, 1)
    before = autoencoder.quant_conv
    before.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    before.bias[:channels] = (before.bias[:channels] - mean) / deviation
    before.bias[channels:] -= 2 * deviation.log()  # the log variances
    autoencoder.register_to_config(scaling_factor=1.0)


def train_autoencoder(renders: Renders, held_out: Renders, work: Path, output: Path) -> None:
    """Train the autoencoder and save it in single precision.

    Args:
        renders: training images.
        held_out: images for the log.
        work: folder of the checkpoints and the log.
        output: folder of the trained network.
    """
    torch.manual_seed(settings.SEED)
    autoencoder = train(AutoencoderTask(renders, held_out), settings.AUTOENCODER, work)
    torch.manual_seed(settings.SEED)
    normalize_latents(autoencoder, renders.batch(torch.arange(min(CALIBRATION_IMAGES, len(renders)))))
    autoencoder.save_pretrained(output, safe_serialization=True)
