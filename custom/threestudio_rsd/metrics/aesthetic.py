"""LAION's aesthetic score, version 2: a linear head on CLIP ViT-L/14 image embeddings, from about 1 to 10.

Source: https://github.com/christophschuhmann/improved-aesthetic-predictor, sac+logos+ava1-l14-linearMSE.pth.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError, first_line
from ..hub import hub_file
from ..names import AESTHETIC_HEAD

CLIP = "openai/clip-vit-large-patch14"  # network of the embeddings


def aesthetic_score(embeddings: Tensor, head: nn.Linear) -> Tensor:
    """Aesthetic score of each image.

    Args:
        embeddings: projected CLIP image embeddings, (N, D).
        head: head from `load_aesthetic_head`.

    Returns:
        (N,)

    Raises:
        UserError: the head takes embeddings of another size.
    """
    if embeddings.shape[1] != head.in_features:
        raise UserError(
            f"the aesthetic head takes {head.in_features} features, not {embeddings.shape[1]}; "
            f"accepted: a head for {CLIP}."
        )
    scores: Tensor = head(F.normalize(embeddings.to(head.weight.dtype), dim=1)).flatten()
    return scores


def load_aesthetic_head(source: str = AESTHETIC_HEAD, device: torch.device | str = "cpu") -> nn.Linear:
    """Load the head as a single linear layer.

    Version 1 of the predictor is one linear layer; version 2 has five without activations, which are multiplied.

    Args:
        source: a .pth or .safetensors file, or OWNER/NAME/FILE on the hub.
        device: device of the head.

    Raises:
        UserError: the file is missing, the hub cannot be reached, or the weights are of another network.
    """
    file = Path(source).expanduser()
    if not file.is_file():
        file = _download(source)
    try:
        head = _fold(_read(file))
    except (OSError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{str(file)!r} holds no aesthetic head ({first_line(error)}); "
            "accepted: the weights of LAION's predictor, whose linear layers end in one number."
        ) from error
    return head.requires_grad_(False).eval().to(device)


def _download(source: str) -> Path:
    """Download OWNER/NAME/FILE from the hub."""
    owner, _, rest = source.partition("/")
    name, _, filename = rest.partition("/")
    how = (
        "download sac+logos+ava1-l14-linearMSE.pth from github.com/christophschuhmann/improved-aesthetic-predictor "
        "and give its path with --aesthetic"
    )
    if not filename:
        raise UserError(f"the aesthetic head {source!r} is no file; {how}.")
    try:
        return hub_file(f"{owner}/{name}", filename)
    except (OSError, ValueError) as error:
        raise UserError(f"the aesthetic head {source!r} cannot be loaded ({first_line(error)}); {how}.") from error


def _read(file: Path) -> Mapping[str, Tensor]:
    """Weights by name in a .safetensors or .pth file."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    weights = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(weights, Mapping):
        raise ValueError("no weights by name")
    return weights


def _fold(weights: Mapping[str, Tensor]) -> nn.Linear:
    """Single linear layer that equals the linear layers of a network without activations."""
    layers = sorted(
        (key.removesuffix("weight") for key in weights if key.endswith("weight")),
        key=lambda name: [int(number) for number in re.findall(r"\d+", name)],
    )
    if not layers:
        raise ValueError("it has no layer")
    weight, bias = weights[f"{layers[0]}weight"].double(), weights[f"{layers[0]}bias"].double()
    for name in layers[1:]:
        matrix = weights[f"{name}weight"].double()
        weight, bias = matrix @ weight, matrix @ bias + weights[f"{name}bias"].double()
    if weight.ndim != 2 or len(weight) != 1:
        raise ValueError(f"the last layer has {len(weight)} outputs")
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise ValueError("its weights are not finite")
    head = nn.Linear(weight.shape[1], 1)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head
