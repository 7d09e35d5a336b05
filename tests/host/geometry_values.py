"""Outputs of `implicit-volume` for given weights; also a program that prints them as JSON, for threestudio."""

import json
import math

import torch

MLP = {"otype": "VanillaMLP", "activation": "ReLU", "output_activation": "none", "n_neurons": 16, "n_hidden_layers": 2}
WAVES = {"otype": "ProgressiveBandFrequency", "n_frequencies": 4}
CASES = {
    "defaults": {},
    "analytic": {"normal_type": "analytic"},
    "central": {"normal_type": "finite_difference_laplacian", "finite_difference_normal_eps": 0.05},
    "predicted": {"normal_type": "pred"},
    "dreamfusion": {"density_bias": "blob_dreamfusion", "density_activation": "exp", "density_blob_std": 0.2},
    "number": {"density_bias": -1.0, "density_activation": "trunc_exp", "n_feature_dims": 5},
    "fading in": {"pos_encoding_config": {**WAVES, "n_masking_step": 100, "include_xyz": True}},
}
STEP = 40  # training step, for octaves that fade in
RADIUS = 1.5


def weights(shape: torch.Size) -> torch.Tensor:
    """Fixed numbers that do not depend on the version of PyTorch."""
    n = math.prod(shape)
    return (torch.arange(1, n + 1, dtype=torch.float64) * 12.9898).sin().view(shape).float() / shape[-1] ** 0.5


def values(case: str) -> dict[str, list]:
    """Outputs at some points, normals included."""
    from threestudio_rsd import host

    cfg = {"radius": RADIUS, "pos_encoding_config": WAVES, "mlp_network_config": MLP, **CASES[case]}
    geometry = host.find("implicit-volume")(cfg)
    with torch.no_grad():
        for parameter in geometry.parameters():
            parameter.copy_(weights(parameter.shape))
    geometry.do_update_step(0, STEP)
    points = weights(torch.Size([40, 3])) * RADIUS
    return {name: value.tolist() for name, value in geometry(points, output_normal=True).items()}


def main() -> None:
    from real_threestudio import prelude

    prelude()
    print(json.dumps({case: values(case) for case in CASES}))


if __name__ == "__main__":
    main()
