"""Image tokens of transformers that take latents as a sequence of 2x2 patches."""

import torch
from torch import Tensor


def to_tokens(latents: Tensor) -> Tensor:
    """Latents (N, C, h, w) as tokens (N, h w / 4, 4 C): the four pixels of a patch follow one another by channel.

    Example:
        >>> to_tokens(torch.arange(8.0).reshape(1, 1, 2, 4))
        tensor([[[0., 1., 4., 5.],
                 [2., 3., 6., 7.]]])
    """
    n, c, h, w = latents.shape
    patches = latents.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(n, (h // 2) * (w // 2), 4 * c)


def from_tokens(tokens: Tensor, shape: torch.Size) -> Tensor:
    """Inverse of `to_tokens` for latents of a shape (N, C, h, w)."""
    n, c, h, w = shape
    return tokens.reshape(n, h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)


def token_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Positions (0, row, column) of the tokens of an image, (height width, 3)."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return torch.cartesian_prod(torch.zeros(1, device=device), rows.float(), columns.float())
