"""Copies of the bundled pipeline that are changed in one place, as users report them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from threestudio_rsd.files import data_path

WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


def copy_bundled(folder: Path) -> Path:
    """Copy of the bundled latent pipeline."""
    return Path(shutil.copytree(data_path("load/toyworld/text-to-image"), folder))


def edit_json(file: Path, remove: tuple[str, ...] = (), **changes: Any) -> None:
    """Change and remove keys of a JSON file."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if key not in remove}))


def edit_weights(model: Path, part: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    """Replace the weights of a part by `change` of them."""
    file = model / part / WEIGHTS[part]
    weights = load_file(file)
    file.unlink()  # the mapped file is still read
    save_file(change(weights), file, metadata={"format": "pt"})


def zero_terminal_snr(folder: Path, prediction_type: str = "v_prediction") -> str:
    """The bundled pipeline with a noise schedule that ends in pure noise: alpha_T = 0."""
    model = copy_bundled(folder)
    edit_json(model / "scheduler/scheduler_config.json", rescale_betas_zero_snr=True, prediction_type=prediction_type)
    return str(model)
