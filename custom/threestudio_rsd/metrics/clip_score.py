"""CLIP score: agreement of images with their prompts (Hessel et al., 2021)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError, first_line
from ..finite import require_finite
from ..log import warn
from ..pretrained import find_pretrained, load_pretrained

UNUSED = r"^(vision_model|visual_projection|logit_scale)\b"  # keys of the other half, in the file of a whole CLIP


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
    """The text half of a transformers CLIP: B prompts -> projected embeddings (B, D); warns of what it cuts off.

    Args:
        model_id: folder or hub id.
        device: where it runs.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    accepted = "a folder of a transformers CLIP, or a hub id that can be reached"
    source = find_pretrained("CLIP's text half", model_id, "config.json", accepted)
    network: Any = load_pretrained(CLIPTextModelWithProjection, source, unused=UNUSED)
    try:
        revision = {} if source.is_folder else {"revision": source.commit}
        tokenizer: Any = AutoTokenizer.from_pretrained(source.location, **revision)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise source.error(f"its tokenizer cannot be loaded ({first_line(error)}); accepted: {accepted}") from error
    network = network.float().requires_grad_(False).to(device)
    longest = network.config.max_position_embeddings

    @torch.no_grad()
    def encode(prompts: Sequence[str]) -> Tensor:
        for prompt in dict.fromkeys(prompts):
            length = len(tokenizer(prompt, verbose=False).input_ids)
            if length > longest:
                warn(f"CLIP's text half takes {longest} tokens, not the {length} of {prompt!r}: the rest is cut off.")
        tokens = tokenizer(list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        embeddings: Tensor = network(**tokens.to(device)).text_embeds
        return embeddings

    return encode
