"""Gradients of threestudio-mvdream's guidance, plain and wrapped by `repulsive-guidance`; a program that saves them.

python mvdream_gradients.py GUIDANCE.py OUTPUT.pt

The package `mvdream`, with the multi-view diffusion model, is replaced by a tiny model with the same methods.
"""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

PARTICLES, VIEWS, SIDE = 2, 4, 32
GAMMA = 3.0


class TinyMultiviewModel(nn.Module):
    """Random multi-view diffusion model: each view sees its camera, the text and the mean of its object's views."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 8, stride=8)
        self.network = nn.Conv2d(8, 4, 3, padding=1)
        self.condition = nn.Linear(16 + 8, 4)
        self.register_buffer("alphas", torch.linspace(0.999, 0.01, 1000))

    def encode_first_stage(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def get_first_stage_encoding(self, latents: Tensor) -> Tensor:
        return 0.2 * latents

    def q_sample(self, clean: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        alpha = self.alphas[t].view(-1, 1, 1, 1)
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def predict_start_from_noise(self, noisy: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        alpha = self.alphas[t].view(-1, 1, 1, 1)
        return (noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt()

    def apply_model(self, noisy: Tensor, t: Tensor, context: dict[str, Any]) -> Tensor:
        n = context["num_frames"]
        together = noisy.unflatten(0, (-1, n)).mean(1).repeat_interleave(n, dim=0)
        condition = self.condition(torch.cat([context["camera"], context["context"].mean(1)], dim=1))
        return self.network(torch.cat([noisy, together], dim=1)) + condition[:, :, None, None]


def install_stand_in() -> None:
    """Make `mvdream.camera_utils` and `mvdream.model_zoo` importable."""
    package, cameras, models = (
        ModuleType("mvdream"),
        ModuleType("mvdream.camera_utils"),
        ModuleType("mvdream.model_zoo"),
    )
    cameras.convert_opengl_to_blender = cameras.normalize_camera = lambda camera: camera

    def build_model(name: str, ckpt_path: str | None = None) -> nn.Module:
        torch.manual_seed(0)
        return TinyMultiviewModel()

    models.build_model = build_model
    sys.modules.update({each.__name__: each for each in (package, cameras, models)})


def images() -> Tensor:
    """Fixed images of PARTICLES objects with VIEWS views, (PARTICLES VIEWS, SIDE, SIDE, 3)."""
    return torch.rand(PARTICLES * VIEWS, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(1))


def gradient(guidance: Any) -> Tensor:
    """Gradient of the guidance's loss in the images."""
    rgb, generator = images().requires_grad_(), torch.Generator().manual_seed(3)
    n = len(rgb)
    text = torch.randn(2 * n, 5, 8, generator=generator)
    prompts = SimpleNamespace(get_text_embeddings=lambda *views: text)
    batch = {name: torch.zeros(n) for name in ("elevation", "azimuth", "camera_distances")}
    batch |= {"c2w": torch.randn(n, 4, 4, generator=generator), "views_per_particle": VIEWS, "n_particles": PARTICLES}
    torch.manual_seed(2)
    guidance(rgb, prompts, **batch)["loss_sds"].backward()
    return rgb.grad


def main() -> None:
    from real_threestudio import prelude

    prelude()
    install_stand_in()
    spec = importlib.util.spec_from_file_location("mvdream_guidance", sys.argv[1])
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    from threestudio_rsd.extension.guidance import wrapper  # noqa: F401 registers
    from threestudio_rsd.host import find

    name, config = "mvdream-multiview-diffusion-guidance", {"image_size": SIDE, "n_view": VIEWS}
    found = {"plain": gradient(find(name)(config))}
    for gamma in (0.0, GAMMA):
        wrapped = {"guidance_type": name, "guidance": config, "features": "euclidean", "gamma": gamma}
        found[f"gamma {gamma:g}"] = gradient(find("repulsive-guidance")(wrapped))
    torch.save(found, sys.argv[2])


if __name__ == "__main__":
    main()
