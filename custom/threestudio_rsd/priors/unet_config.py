"""Values of a U-Net's config that a prior depends on, with the rules of diffusers' pipelines."""

from collections.abc import Callable
from typing import Any

from ..errors import UserError
from ..log import warn

Error = Callable[[str], UserError]  # makes an error from a problem, see `Pretrained.error`

OLD_SIZE = 64  # latent pixels of Stable Diffusion 1.x, whose first files give a wrong size

# Inputs of a U-Net that priors do not give, by the config's key, and the accepted values
INPUTS: dict[str, tuple[object, ...]] = {
    "time_cond_proj_dim": (None,),  # guidance scale, in distilled models (LCM)
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "addition_embed_type": (None, "text"),  # text_time in Stable Diffusion XL; text in DeepFloyd IF
    "encoder_hid_dim_type": (None, "text_proj"),
}


def check_unet(config: Any, channels: int, error: Error) -> None:
    """Check that a U-Net needs no inputs beside the particles, t and the prompt.

    Args:
        config: config of the U-Net.
        channels: channels of a particle.
        error: makes the error.

    Raises:
        UserError: it does.
    """
    for key, accepted in INPUTS.items():
        value = config.get(key)
        if value not in accepted:
            raise error(f"its unet has {key}={value!r}, an input that this prior does not give")
    taken, given = config["in_channels"], config["out_channels"]
    if taken != channels or given not in (channels, 2 * channels):  # twice: with a learned variance
        raise error(f"its unet takes {taken} channels and returns {given}; accepted: {channels} each, as of a particle")


def sample_size(config: Any, error: Error, old_rule: bool = False) -> int:
    """Side of a particle in pixels.

    Args:
        config: config of the U-Net.
        error: makes the error.
        old_rule: whether files older than diffusers 0.9 with a size below 64 have 64, as in StableDiffusionPipeline.

    Raises:
        UserError: the config has no size, or that of a rectangle.
    """
    value = config.get("sample_size")
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise error(
            f"its unet/config.json has sample_size={value!r}; set it to the side of its latents or pixels, such as 64"
        )
    if sides[0] != sides[1]:
        raise error(f"its unet/config.json has sample_size={value!r}, a rectangle; accepted: a square")
    if old_rule and not isinstance(value, list | tuple) and value < OLD_SIZE and _is_old(config):
        warn(f"unet/config.json is older than diffusers 0.9: its sample_size={value} is read as {OLD_SIZE}.")
        return OLD_SIZE
    return int(sides[0])


def text_width(config: Any) -> int | None:
    """Width of the text embeddings that a U-Net takes; None where its config has no single one."""
    value = config.get("encoder_hid_dim") or config.get("cross_attention_dim")
    return value if isinstance(value, int) else None


def _is_old(config: Any) -> bool:
    from packaging import version

    written = config.get("_diffusers_version")
    if written is None:
        return False
    return version.parse(version.parse(str(written)).base_version) < version.parse("0.9.0.dev0")
