"""Packing of what a text encoder returns for a prompt into one tensor, which prompt processors and caches can hold.

A pooled embedding follows the tokens in further rows; an attention mask is a further column.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def pack_pooled(tokens: Tensor, pooled: Tensor) -> Tensor:
    """Tokens (L, D) and a pooled embedding (P,) as (L + ceil(P / D), D).

    Example:
        >>> pack_pooled(torch.zeros(2, 2), torch.ones(3))
        tensor([[0., 0.],
                [0., 0.],
                [1., 1.],
                [1., 0.]])
    """
    width = tokens.shape[1]
    rows = F.pad(pooled, (0, -len(pooled) % width)).reshape(-1, width)
    return torch.cat([tokens, rows.to(tokens)])


def unpack_pooled(text: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Tokens (N, L, D) and pooled embeddings (N, width) of packed text (N, L + ceil(width / D), D)."""
    rows = -(-width // text.shape[-1])
    return text[:, :-rows], text[:, -rows:].flatten(1)[:, :width]


def pack_mask(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Tokens (L, D) and their attention mask (L,) as (L, D + 1); None: all tokens count.

    Example:
        >>> pack_mask(torch.zeros(2, 1), torch.tensor([1, 0]))
        tensor([[0., 1.],
                [0., 0.]])
    """
    column = tokens.new_ones(len(tokens), 1) if mask is None else mask.to(tokens)[:, None]
    return torch.cat([tokens, column], 1)


def unpack_mask(text: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (N, L, D) and attention mask (N, L), of integers, of packed text (N, L, D + 1)."""
    return text[..., :-1], text[..., -1].round().long()


def stack_padded(texts: list[Tensor]) -> Tensor:
    """Packed texts (L_i, D), padded with rows of zeros, as (len(texts), max L_i, D).

    Example:
        >>> stack_padded([torch.ones(1, 1), torch.ones(2, 1)]).flatten(1)
        tensor([[1., 0.],
                [1., 1.]])
    """
    longest = max(len(text) for text in texts)
    return torch.stack([F.pad(text, (0, 0, 0, longest - len(text))) for text in texts])
