"""CLIP score: agreement of images with their prompts (Hessel et al., 2021)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError, first_line
from ..finite import require_finite
from ..quiet import quiet_transformers


def clip_score(images: Tensor, texts: Tensor) -> Tensor:
    """Cosine similarity of CLIP's embeddings, 0 where it is below: (N, D) twice -> (N,), as in the paper's Table 4.

    torchmetrics prints 100 times this, Hessel et al. 2.5 times.

    Raises:
        UserError: embeddings of different shapes.
    """
    if images.shape != texts.shape:
        shapes = f"{tuple(images.shape)} and {tuple(texts.shape)}"
        raise UserError(f"embeddings of shapes {shapes} cannot be compared; accepted: twice the same (N, D).")
    require_finite("the embeddings of the images", images)
    return F.cosine_similarity(images, texts, dim=1).clamp_min(0)


def load_text_encoder(model_id: str, device: torch.device | str = "cpu") -> Callable[[Sequence[str]], Tensor]:
    """The text half of a transformers CLIP: B prompts -> projected embeddings (B, D); what is too long is cut.

    Args:
        model_id: folder or hub id.
        device: where it runs.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    try:
        with quiet_transformers():  # it would complain that the image half is not read
            tokenizer: Any = AutoTokenizer.from_pretrained(model_id)
            network: Any = CLIPTextModelWithProjection.from_pretrained(model_id)
    except (OSError, ValueError) as error:
        raise UserError(
            f"CLIP's text half {model_id!r} cannot be loaded ({first_line(error)}); "
            "accepted: a folder of a transformers CLIP, or a hub id that can be reached."
        ) from error
    network = network.float().requires_grad_(False).eval().to(device)
    longest = network.config.max_position_embeddings

    @torch.no_grad()
    def encode(prompts: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        embeddings: Tensor = network(**tokens.to(device)).text_embeds
        return embeddings

    return encode
