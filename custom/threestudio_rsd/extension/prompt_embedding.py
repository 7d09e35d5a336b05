"""From what a prompt processor gives, threestudio's or ours, to what a prior takes."""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..priors import PromptEmbedding, WeightedNegatives


def embedding_of_views(
    prompt_utils: Any,
    elevation: Tensor,
    azimuth: Tensor,
    camera_distances: Tensor,
    view_dependent_prompting: bool,
    device: torch.device,
) -> PromptEmbedding:
    """Embeddings of N views, with Perp-Neg's negatives where the processor has it on.

    A processor does not tell the empty prompt from the negative one, so `unconditional` is the negative prompt.

    Args:
        prompt_utils: what the prompt processor returned.
        elevation, azimuth (degrees), camera_distances: (N,).
        view_dependent_prompting: whether the prompt names the direction of view.
        device: where the embeddings are wanted.

    Raises:
        UserError: Perp-Neg for prompts that do not name the direction of view.
    """
    views = (elevation, azimuth, camera_distances, view_dependent_prompting)
    if not prompt_utils.use_perp_neg:
        conditional, negative = prompt_utils.get_text_embeddings(*views).to(device).chunk(2)
        return PromptEmbedding(conditional, negative, negative)
    if not view_dependent_prompting:
        raise UserError(
            "prompt_processor.use_perp_neg=True needs guidance.view_dependent_prompting=True; set both or neither."
        )
    text, weights = prompt_utils.get_text_embeddings_perp_neg(*views)
    n = len(elevation)
    conditional, negative, negatives = text.to(device).split([n, n, len(text) - 2 * n])
    perp_neg = WeightedNegatives(negatives.unflatten(0, (n, -1)), weights.to(device))
    return PromptEmbedding(conditional, negative, negative, perp_neg)
