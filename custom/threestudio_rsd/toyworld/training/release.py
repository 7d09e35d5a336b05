"""Conversion of trained networks to their released form.

Released weights are in half precision and load with diffusers 0.19 and transformers 4.28 as well as with current
releases.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

# Config entries that the older libraries reject. All have their default values here, so they can be removed.
NEWER_SETTINGS = {
    "_name_or_path",
    "attention_type",
    "dropout",
    "latents_mean",
    "latents_std",
    "mid_block_add_attention",
    "reverse_transformer_layers_per_block",
    "shift_factor",
    "use_post_quant_conv",
    "use_quant_conv",
}
IMAGE_PROCESSOR = {  # of `dino` and `clip`, whose inputs are in [-1, 1]
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"height": 64, "width": 64},
    "resample": 3,
    "rescale_factor": 1 / 255,
}


def release(work: Path, destination: Path) -> list[str]:
    """Convert all networks whose training is finished, and replace them in the destination.

    Args:
        work: work folder of `rsd toyworld train`.
        destination: folder of the converted networks.

    Returns:
        Names of the converted networks.
    """
    names = [
        name
        for name in ("text-to-image", "pixel", "flow", "dino", "clip", "judge")
        if (work / f"{name}.done").is_file()
    ]
    for name in names:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            copy = Path(folder) / name
            shutil.copytree(work / name, copy)
            if name == "text-to-image":
                _add_attention(copy / "vae")
                _prefix_keys(copy / "text_encoder" / "model.safetensors")
            if name in ("dino", "clip"):
                processor = {"image_processor_type": {"dino": "ViTImageProcessor", "clip": "CLIPImageProcessor"}[name]}
                (copy / "preprocessor_config.json").write_text(json.dumps(processor | IMAGE_PROCESSOR, indent=2) + "\n")
            for weights in copy.rglob("*.safetensors"):
                _halve(weights)
            if name != "flow":  # older libraries do not know Stable Diffusion 3, and its autoencoder needs a shift
                for config in copy.rglob("config.json"):
                    _clean_config(config)
            shutil.rmtree(destination / name, ignore_errors=True)
            shutil.copytree(copy, destination / name)
    return names


def _add_attention(folder: Path) -> None:
    """Add attention layers with zero output to the autoencoder's middle blocks, which old diffusers requires."""
    plain = AutoencoderKL.from_pretrained(folder)
    torch.manual_seed(0)
    with_attention = AutoencoderKL.from_config({**plain.config, "mid_block_add_attention": True})
    for part in (with_attention.encoder, with_attention.decoder):
        output = part.mid_block.attentions[0].to_out[0]
        torch.nn.init.zeros_(output.weight)
        torch.nn.init.zeros_(output.bias)
    with_attention.load_state_dict(plain.state_dict(), strict=False)
    with_attention.save_pretrained(folder, safe_serialization=True)


def _prefix_keys(file: Path) -> None:
    """Rename a text encoder's weights to the names of transformers 4, which version 5 reads as well."""
    prefix = "text_model."
    _rewrite(file, lambda name, value: (name if name.startswith(prefix) else prefix + name, value))


def _halve(file: Path) -> None:
    """Convert floating-point weights to half precision."""
    _rewrite(file, lambda name, value: (name, value.half() if value.is_floating_point() else value))


def _rewrite(file: Path, change: Callable[[str, Tensor], tuple[str, Tensor]]) -> None:
    """Replace every (name, weight) of a safetensors file by the result of `change`."""
    weights: dict[str, Tensor] = dict(change(name, value) for name, value in load_file(file).items())
    save_file({name: value.contiguous() for name, value in weights.items()}, file, metadata={"format": "pt"})


def _clean_config(file: Path) -> None:
    """Remove NEWER_SETTINGS from a JSON config."""
    config = {name: value for name, value in json.loads(file.read_text()).items() if name not in NEWER_SETTINGS}
    file.write_text(json.dumps(config, indent=2) + "\n")
