"""Noise predictions of many rows: in one network call, or in chunks where the GPU's memory is too small for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .base import Prior


Network = Callable[[Tensor, int | Tensor, Tensor], Tensor]  # of x_t, t and the text embeddings


def predict_rows(prior: "Prior", x_t: Tensor, t: int | Tensor, text: Tensor, network: Network | None = None) -> Tensor:
    """Noise prediction without gradient; when memory runs out the chunk size is halved, for later calls too.

    Args:
        prior: the diffusion model; `rows_per_call` holds its chunk size.
        x_t: noisy particles, repeated for each prompt, (B, ...).
        t: timestep, int or (B,).
        text: text embeddings, (B, L, D).
        network: function of x_t, t and text; None: `raw_predict` of the prior.

    Returns:
        (B, ...)

    Raises:
        torch.cuda.OutOfMemoryError: one row is too much.
    """
    network = network or prior.raw_predict
    while True:
        rows = min(prior.rows_per_call or len(x_t), len(x_t))
        try:
            return _predict(network, x_t, t, text, rows)
        except torch.cuda.OutOfMemoryError:
            if rows == 1:
                raise
            prior.rows_per_call = (rows + 1) // 2
        torch.cuda.empty_cache()


@contextmanager
def at_most_rows(prior: "Prior | None", rows: int | None) -> Iterator[None]:
    """Context in which a network call of a prior has at most `rows` rows, so that memory does not grow with N.

    Args:
        prior: the diffusion model; None: nothing happens.
        rows: chunk size; None: that of the prior.
    """
    if prior is None or rows is None or (prior.rows_per_call is not None and prior.rows_per_call <= rows):
        yield
        return
    former, prior.rows_per_call = prior.rows_per_call, rows
    try:
        yield
    finally:
        if prior.rows_per_call == rows:  # not fallen for lack of memory
            prior.rows_per_call = former


def _predict(network: Network, x_t: Tensor, t: int | Tensor, text: Tensor, rows: int) -> Tensor:
    starts = range(0, len(x_t), rows)
    parts = [
        network(x_t[i : i + rows], t if isinstance(t, int) else t[i : i + rows], text[i : i + rows]) for i in starts
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
