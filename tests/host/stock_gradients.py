"""Gradients of the SDS guidance of threestudio or its stand-in; also a program that saves them.

python stock_gradients.py OUTPUT.pt KIND=MODEL ...
"""

import sys
from types import SimpleNamespace

import torch

GUIDANCE_SCALE = 20.0


def gradient(kind: str, model: str, perp_neg: bool = False, gamma: float | None = None) -> torch.Tensor:
    """Gradient (B, 64, 64, 3) of `KIND-guidance`'s loss in fixed images, with the global generator seeded.

    B is 2, but 1 with Perp-Neg, where threestudio lets several views' negatives change places. With `gamma` the
    guidance is wrapped by `repulsive-guidance`.
    """
    from threestudio_rsd.extension.guidance import wrapper  # noqa: F401 registers
    from threestudio_rsd.host import find

    config = {
        "pretrained_model_name_or_path": model,
        "half_precision_weights": False,
        "guidance_scale": GUIDANCE_SCALE,
    }
    if gamma is None:
        guidance = find(f"{kind}-guidance")(config)
    else:
        wrapped = {"guidance_type": f"{kind}-guidance", "guidance": config, "features": "euclidean", "gamma": gamma}
        guidance = find("repulsive-guidance")(wrapped)
    generator = torch.Generator().manual_seed(1)
    n = 1 if perp_neg else 2
    rgb = torch.rand(n, 64, 64, 3, generator=generator).requires_grad_()
    text = torch.randn(4, 8, 16, generator=generator)
    prompts = SimpleNamespace(
        use_perp_neg=perp_neg,
        get_text_embeddings=lambda *views: text,
        get_text_embeddings_perp_neg=lambda *views: (text, torch.tensor([[-0.7, -1.3]])),
    )
    views = {"elevation": torch.zeros(n), "azimuth": torch.zeros(n), "camera_distances": torch.ones(n)}
    torch.manual_seed(2)
    guidance(rgb, prompts, **views)["loss_sds"].backward()
    return rgb.grad


def all_gradients(models: dict[str, str]) -> dict[str, torch.Tensor]:
    """Gradients of every kind of guidance, without and with Perp-Neg, and wrapped with gamma 0 and 1."""
    wrapped = {
        f"{kind} gamma {gamma}": gradient(kind, model, gamma=gamma)
        for kind, model in models.items()
        for gamma in (0, 1)
    }
    return wrapped | {
        f"{kind}{' perp-neg' if perp_neg else ''}": gradient(kind, model, perp_neg)
        for kind, model in models.items()
        for perp_neg in (False, True)
    }


def main() -> None:
    from real_threestudio import prelude

    prelude()
    models = dict(argument.split("=") for argument in sys.argv[2:])
    torch.save(all_gradients(models), sys.argv[1])


if __name__ == "__main__":
    main()
