"""Gradient of the host's own SDS guidance, whichever host there is: run as a program, it saves what both can compare.

python stock_gradients.py OUTPUT.pt KIND=MODEL ...
"""

import sys
from types import SimpleNamespace

import torch

GUIDANCE_SCALE = 20.0


def gradient(kind: str, model: str) -> torch.Tensor:
    """Gradient (2, 64, 64, 3) of `KIND-guidance`'s loss in fixed images, with the global generator seeded."""
    from threestudio_rsd.host import find

    config = {
        "pretrained_model_name_or_path": model,
        "half_precision_weights": False,
        "guidance_scale": GUIDANCE_SCALE,
    }
    guidance = find(f"{kind}-guidance")(config)
    generator = torch.Generator().manual_seed(1)
    rgb = torch.rand(2, 64, 64, 3, generator=generator).requires_grad_()
    text = torch.randn(4, 8, 16, generator=generator)
    prompts = SimpleNamespace(use_perp_neg=False, get_text_embeddings=lambda *args, **kwargs: text)
    views = {"elevation": torch.zeros(2), "azimuth": torch.zeros(2), "camera_distances": torch.ones(2)}
    torch.manual_seed(2)
    guidance(rgb, prompts, **views)["loss_sds"].backward()
    return rgb.grad


def main() -> None:
    from real_threestudio import prelude

    prelude()
    gradients = {kind: gradient(kind, model) for kind, model in (argument.split("=") for argument in sys.argv[2:])}
    torch.save(gradients, sys.argv[1])


if __name__ == "__main__":
    main()
