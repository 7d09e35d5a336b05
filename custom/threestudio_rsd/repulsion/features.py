"""Feature networks g(x): the spaces in which particles repel each other and in which diversity is measured.

Each is a frozen network in eval mode. It takes images in [0, 1] of any size, and resizes and normalizes them as in the
network's training. Gradients flow to the images only.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError, require
from ..files import data_path
from ..metrics.lpips import load_lpips
from ..names import FEATURE_NETWORKS
from ..pretrained import Pretrained, find_pretrained, load_pretrained, local_path

HUB_IDS = {
    "dino": "facebook/dino-vits16",  # the paper's g_DINO (Caron et al., 2021)
    "dinov2": "facebook/dinov2-small",
    "clip": "openai/clip-vit-base-patch32",
}
BUNDLED = {"dino": "load/toyworld/dino", "clip": "load/toyworld/clip"}

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Model types of transformers whose first output token is a class token, and those with a projected image embedding.
VITS = ("vit", "vit_msn", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit")
CLIPS = ("clip", "clip_vision_model")
WITH_POOLER = ("vit", "deit")  # those with an optional pooler, which is not needed
# Keys that a model's file may hold beside those of the network: the text half of a CLIP, and heads of a ViT.
UNUSED = r"^(text_model|visual_projection|text_projection|logit_scale|\w*classifier|head|decoder)\b|mask_token$"

OPENAI_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def load_features(
    spec: str | nn.Module | Callable[[Tensor], Tensor],
    bundled: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Callable[[Tensor], Tensor]:
    """Load a feature network.

    Args:
        spec: `dino`, `dinov2`, `clip`, `lpips`, `euclidean` (the flattened input itself), the folder or hub id of a
            transformers ViT, DINO or CLIP, or a callable that maps images (N, 3, H, W) to features (N, ...). Modules
            are frozen and put in eval mode; other callables are returned as they are.
        bundled: load `dino` and `clip` from the networks shipped with this package, which were trained on the images
            of the bundled prior.
        device: device of the network.
        dtype: precision of the network.

    Returns:
        Callable from images (N, 3, H, W) in [0, 1] to features (N, D).

    Raises:
        UserError: unknown name, a model that cannot be loaded or is of an unknown type, or a missing optional library.

    Example:
        >>> dino = load_features("dino", bundled=True)
        >>> dino(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 128])
    """
    if isinstance(spec, nn.Module):
        return spec.requires_grad_(False).eval()
    if not isinstance(spec, str):
        if not callable(spec):
            raise UserError(
                f"features={spec!r} is unknown; accepted: {', '.join(FEATURE_NETWORKS)}, a folder or a callable."
            )
        return spec
    if spec == "euclidean":
        return _flatten
    if spec == "lpips":
        return LPIPSFeatures().to(device, dtype)
    model_id = str(data_path(BUNDLED[spec])) if bundled and spec in BUNDLED else HUB_IDS.get(spec, spec)
    return _load_transformer(spec, model_id).to(device, dtype)


def _flatten(images: Tensor) -> Tensor:
    return images.flatten(1)


def _load_transformer(spec: str, model_id: str) -> "TransformerFeatures":
    """Load a transformers model by its folder or hub id; `spec` names it in messages."""
    if spec not in HUB_IDS and "/" not in spec and local_path(spec) is None:
        raise UserError(f"features={spec!r} is unknown; accepted: {', '.join(FEATURE_NETWORKS)}, a folder or a hub id.")
    accepted = f"{', '.join(FEATURE_NETWORKS)}, a folder of a transformers ViT or CLIP, or a hub id that can be reached"
    source = find_pretrained("features", spec, "config.json", accepted, model=model_id)
    config = source.read_json("config.json")
    model_type = str(config.get("model_type"))
    if model_type not in (*VITS, *CLIPS):
        raise source.error(f"its model_type is {model_type!r}; accepted: {', '.join((*VITS, *CLIPS))}")
    from transformers import AutoModel, CLIPVisionModelWithProjection

    no_pooler: dict[str, Any] = {"add_pooling_layer": False} if model_type in WITH_POOLER else {}
    is_projected = model_type == "clip" or "CLIPVisionModelWithProjection" in (config.get("architectures") or ())
    network_class = CLIPVisionModelWithProjection if is_projected else AutoModel
    network = load_pretrained(network_class, source, unused=UNUSED, **no_pooler)
    vision = getattr(network.config, "vision_config", network.config)
    if vision.num_channels != 3:
        raise source.error(f"its config has num_channels={vision.num_channels}; accepted: 3, for RGB images")
    mean, std = _normalization(source, model_type)
    return TransformerFeatures(network.float(), mean, std)


def _normalization(source: Pretrained, model_type: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel mean and std of the training images: from the model's preprocessor file, else those of its family."""
    family = OPENAI_CLIP if model_type in CLIPS else IMAGENET
    if "preprocessor_config.json" not in source.file_names():
        return family
    values = source.read_json("preprocessor_config.json")
    if values.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = values.get("image_mean", family[0]), values.get("image_std", family[1])
    if not (_is_color(mean) and _is_color(std) and min(std) > 0):
        raise source.error(
            f"its preprocessor_config.json has image_mean={mean!r} and image_std={std!r}; accepted: three numbers "
            "each, those of image_std above 0"
        )
    return tuple(mean), tuple(std)


def _is_color(values: Any) -> bool:
    return isinstance(values, list | tuple) and len(values) == 3 and all(isinstance(v, int | float) for v in values)


class TransformerFeatures(nn.Module):
    """Class token of a ViT (DINO), or the projected image embedding of a CLIP: images (N, 3, H, W) -> (N, D).

    Args:
        network: transformers vision model.
        mean: mean of each channel over the training images, (3,).
        std: standard deviation of each channel over the training images, (3,).
    """

    network: Any
    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        vision = getattr(network.config, "vision_config", network.config)
        size = vision.image_size
        self.image_size = (size, size) if isinstance(size, int) else tuple(size)  # height, width
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def train(self, mode: bool = True) -> "TransformerFeatures":
        """Stay in eval mode whatever `mode` is: features must not depend on dropout."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != self.image_size:
            images = F.interpolate(images, self.image_size, mode="bicubic", align_corners=False, antialias=True)
        output = self.network(pixel_values=(images.to(self.mean.dtype) - self.mean) / self.std)
        embedding: Tensor | None = getattr(output, "image_embeds", None)  # of a CLIP
        if embedding is None:
            class_token: Tensor = output.last_hidden_state[:, 0]
            return class_token.to(images.dtype)
        return embedding.to(images.dtype)


class LPIPSFeatures(nn.Module):
    """Features whose squared distance is the LPIPS distance with AlexNet (Zhang et al., 2018).

    Maps images (N, 3, H, W) to features (N, D).
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = load_lpips()

    def forward(self, images: Tensor) -> Tensor:
        lpips = require("lpips", "lpips")
        activations = self.network.net(self.network.scaling_layer(images * 2 - 1))
        parts = []
        for activation, linear in zip(activations, self.network.lins, strict=True):
            weight = linear.model[-1].weight.clamp_min(0).sqrt()
            pixels = activation.shape[-2] * activation.shape[-1]
            parts.append((lpips.normalize_tensor(activation) * weight / pixels**0.5).flatten(1))
        return torch.cat(parts, 1)
