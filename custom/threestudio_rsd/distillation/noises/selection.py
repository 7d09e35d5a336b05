"""Selection of initial noises whose one-step estimates are far apart in a feature space."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import in_range
from ...priors import Prior, PromptEmbedding
from ...priors.noise_levels import check_signal

CHUNK = 16  # candidates in the networks at once


def select_distant(features: Tensor, count: int) -> list[int]:
    """Indices of `count` rows that are far apart: the farthest pair, then each time the row farthest from the chosen.

    Args:
        features: (M, D), compared by cosine distance.
        count: number of rows N, 1 to M.

    Returns:
        Indices in rising order.

    Raises:
        UserError: a count outside 1 to M.

    Example:
        >>> select_distant(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]]), 3)
        [0, 2, 3]
    """
    in_range("number of noises to select", count, 1, len(features))
    unit = F.normalize(features, dim=1)
    distance = 1 - unit @ unit.T
    first, second = divmod(int(distance.argmax()), len(distance))
    chosen = [first, second][:count]
    while len(chosen) < count:
        nearest = distance[chosen].min(0).values
        nearest[chosen] = -torch.inf
        chosen.append(int(nearest.argmax()))
    return sorted(chosen)


@torch.no_grad()
def select_noise(
    prior: Prior,
    embedding: PromptEmbedding,
    candidates: Tensor,
    count: int,
    t: int,
    features: Callable[[Tensor], Tensor],
) -> list[int]:
    """Indices of the noises whose one-step estimates D(sigma_t e) are far apart in a feature space.

    Costs one network evaluation for each candidate, once; the idea of group inference (Parmar et al., 2025).

    Args:
        prior: the diffusion model.
        embedding: the prompt; the estimates are those of the prompt alone, without guidance.
        candidates: standard normal noise, (M, ...).
        count: number of noises to select, N.
        t: timestep of the estimates, the largest of the run.
        features: maps images (M, 3, H, W) in [0, 1] to features.

    Returns:
        N indices in rising order.

    Raises:
        UserError: fewer candidates than particles.
    """
    if not prior.denoises_pure_noise:
        check_signal(prior, t, "noise_candidates")
    found = []
    for part in torch.split(candidates, CHUNK):
        clean = prior.predict_clean(prior.sigma(t) * part, t, embedding, guidance_scale=1.0)
        found.append(features(prior.decode(clean)).flatten(1).float())
    return select_distant(torch.cat(found), count)
