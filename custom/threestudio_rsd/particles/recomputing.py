"""Gradients without a stored graph: parts of a batch are computed again, one after the other, in the backward pass.

Deferred back-propagation (Zhang et al., 2022, ARF, section 4.2): the gradient is computed at the output, and then the
graph of one part after the other, so that memory does not grow with the number of parts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .randomness import ParticleStreams, global_state, set_global_state


class SameRandomNumbers:
    """Function that draws the same random numbers in every call, those of its first; later draws are not affected.

    Args:
        function: function that draws from the global generators.
        streams: generators of the particles that it also draws from.

    Example:
        >>> function = SameRandomNumbers(lambda: float(torch.rand(())))
        >>> function() == function()
        True
    """

    def __init__(self, function: Callable[..., Any], streams: ParticleStreams | None = None) -> None:
        self.function = function
        self.streams = streams
        self._first: tuple[Any, ...] | None = None  # states at the first call

    def __call__(self, *args: Any) -> Any:
        if self._first is None:
            self._first = self._states()
            return self.function(*args)
        present = self._states()
        self._set(self._first)
        try:
            return self.function(*args)
        finally:
            self._set(present)

    def _states(self) -> tuple[Any, ...]:
        return global_state(), None if self.streams is None else (self.streams.step, dict(self.streams.states))

    def _set(self, states: tuple[Any, ...]) -> None:
        shared, of_particles = states
        set_global_state(shared)
        if self.streams is not None:
            step, known = of_particles
            self.streams.step, self.streams.states = step, dict(known)


def recomputed(function: Callable[..., Any], *inputs: Tensor) -> Any:
    """Result of a function, whose graph is built in the backward pass only.

    Args:
        function: function of tensors and of parameters, which gives a tensor or a tuple of them. It is called twice,
            and must give the same result.
        *inputs: its arguments. Parameters get their gradients where one of the inputs needs a gradient.
    """
    return checkpoint(function, *inputs, use_reentrant=True, preserve_rng_state=False)


def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor, size: int | None) -> Tensor:
    """Differentiable result of a function that treats each row of a batch on its own, with the graph of `size` rows.

    Args:
        function: maps rows (M, ...) to (M, ...).
        rows: (N, ...).
        size: rows whose graph is held at once; None: all.

    Returns:
        (N, ...)

    Example:
        >>> x = torch.arange(3.0, requires_grad=True)
        >>> in_chunks(torch.square, x, 2).sum().backward()
        >>> x.grad
        tensor([0., 2., 4.])
    """
    if size is None or len(rows) <= size:
        return function(rows)
    return torch.cat([recomputed(function, part) for part in torch.split(rows, size)])
