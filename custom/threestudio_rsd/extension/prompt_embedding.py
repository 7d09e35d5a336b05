"""Conversion of a prompt processor's output (threestudio's or ours) to a `PromptEmbedding` for priors."""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, shorten
from ..priors import PromptEmbedding, WeightedNegatives

DIRECTIONS = ("front", "side", "back", "overhead")


def check_view_prompts(prompt_config: Any, guidance_config: Any | None) -> None:
    """Check that the guidance uses the prompts for single directions of view.

    Args:
        prompt_config: config of the prompt processor.
        guidance_config: config of the guidance; None: the system has none, and its prompt never depends on the view.

    Raises:
        UserError: there is such a prompt, and every view has the same prompt.
    """
    used = guidance_config is not None and guidance_config.get("view_dependent_prompting", True)
    for direction in DIRECTIONS:
        prompt = prompt_config.get(f"prompt_{direction}")
        if prompt and not used:
            raise UserError(
                f"prompt_processor.prompt_{direction}={shorten(repr(prompt))} has no effect without "
                "guidance.view_dependent_prompting=true; set both or neither."
            )


def embedding_of_views(
    prompt_utils: Any,
    elevation: Tensor,
    azimuth: Tensor,
    camera_distances: Tensor,
    view_dependent_prompting: bool,
    device: torch.device,
) -> PromptEmbedding:
    """Prompt embeddings of N views, with weighted negatives if the prompt processor uses Perp-Neg.

    Prompt processors embed no empty prompt beside the negative one, so `unconditional` is the negative prompt.

    Args:
        prompt_utils: output of the prompt processor.
        elevation: elevation of each camera, degrees, (N,).
        azimuth: azimuth of each camera, degrees, (N,).
        camera_distances: distance of each camera from the origin, (N,).
        view_dependent_prompting: whether the prompt names the direction of view.
        device: device of the embeddings.

    Raises:
        UserError: Perp-Neg with prompts that do not name the direction of view.
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
