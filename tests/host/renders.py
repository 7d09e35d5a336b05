"""Renders of a density field with fixed seeds: images, samples, grid and gradients.

As a program, this file saves those of threestudio.
"""

import random
import sys

import torch
from torch import nn

MLP = {"otype": "VanillaMLP", "activation": "ReLU", "n_neurons": 8, "n_hidden_layers": 1}
DIRECTIONS = {"otype": "ProgressiveBandFrequency", "n_frequencies": 2}
MATERIALS = {
    "no-material": {"requires_normal": True},
    "diffuse-with-point-light-material": {"ambient_only_steps": 0, "soft_shading": True},
    "neural-radiance-material": {
        "input_feature_dims": 3,
        "dir_encoding_config": DIRECTIONS,
        "mlp_network_config": MLP,
    },
}
BACKGROUNDS = {
    "no-material": ("solid-color-background", {"color": [0.2, 0.4, 0.6], "learned": True}),
    "diffuse-with-point-light-material": ("solid-color-background", {"random_aug": True, "random_aug_prob": 0.5}),
    "neural-radiance-material": (
        "neural-environment-map-background",
        {"dir_encoding_config": DIRECTIONS, "mlp_network_config": MLP},
    ),
}
# Looks of the grid, in its warm-up. Later a cell may be looked at twice at once: nerfacc then keeps the value that
# happens to be written last, we the larger one.
STEPS = (0, 16, 32)


class Blob(nn.Module):
    """Smooth density and colors with a few parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bbox", torch.tensor([[-1.0] * 3, [1.0] * 3]))
        self.height = nn.Parameter(torch.tensor(12.0))
        self.axes = nn.Parameter(torch.tensor([3.0, 4.0, 7.0]))
        self.waves = nn.Parameter(torch.linspace(-2, 2, 9).reshape(3, 3))

    def forward_density(self, points):
        return self.height * torch.exp(-(points**2 * self.axes).sum(-1, keepdim=True))

    def forward(self, points, output_normal=False):
        out = {"density": self.forward_density(points), "features": torch.sin(3 * points @ self.waves)}
        if output_normal:
            normal = nn.functional.normalize(points * self.axes, dim=-1)
            out |= {"normal": normal, "shading_normal": normal}
        return out


def cameras(size: int = 10) -> dict[str, torch.Tensor]:
    """Two views from distance 2, one of them from above."""
    v, u = torch.meshgrid(*[torch.linspace(-0.6, 0.6, size)] * 2, indexing="ij")
    front = torch.stack([-torch.ones_like(u), u, -v], -1)
    top = torch.stack([u, v, -torch.ones_like(u)], -1)
    rays_d = nn.functional.normalize(torch.stack([front, top]), dim=-1)
    origins = torch.tensor([[2.0, 0.1, 0.2], [0.1, 0.2, 2.0]])
    return {
        "rays_o": origins[:, None, None].expand_as(rays_d).contiguous(),
        "rays_d": rays_d,
        "light_positions": torch.tensor([[1.0, 2, 3], [-1, 1, 2]]),
    }


def seed(number: int) -> None:
    torch.manual_seed(number)
    random.seed(number)


def fill(module: nn.Module) -> None:
    """Weights that do not depend on how a host draws them."""
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).cos().reshape(parameter.shape))


def renders(host, name: str) -> dict[str, torch.Tensor]:
    """Outputs of the renderer with the material of that name, in training and in evaluation."""
    geometry, material = Blob(), host.find(name)(MATERIALS[name])
    background_name, background_cfg = BACKGROUNDS[name]
    background = host.find(background_name)(background_cfg)
    for module in (material, background):
        fill(module)
    renderer = host.find("nerf-volume-renderer")(
        {"num_samples_per_ray": 48, "eval_chunk_size": 100, "return_comp_normal": True},
        geometry=geometry,
        material=material,
        background=background,
    )
    seed(0)
    for step in STEPS:
        for module in (material, background, renderer):
            module.do_update_step(0, step)
    results = {f"state/{key}": value.clone() for key, value in renderer.state_dict().items()}
    for number in range(3):
        seed(number)
        out = renderer(**cameras())
        results |= {f"train{number}/{key}": value.detach() for key, value in out.items()}
        loss = out["comp_rgb"].square().sum() + out["depth"].sum() + 10 * out["z_variance"].sum()
        parameters = {
            f"{part}.{key}": value
            for part, module in (("geometry", geometry), ("material", material), ("background", background))
            for key, value in module.named_parameters()
        }
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        results |= {
            f"gradient{number}/{key}": torch.zeros(()) if value is None else value
            for key, value in zip(parameters, gradients, strict=True)
        }
    for module in (material, background, renderer):
        module.eval()
    results |= {f"evaluation/{key}": value.detach() for key, value in renderer(**cameras()).items()}
    return results


def main() -> None:
    from real_threestudio import prelude

    prelude()
    from threestudio_rsd import host

    torch.save({name: renders(host, name) for name in MATERIALS}, sys.argv[1])


if __name__ == "__main__":
    main()
