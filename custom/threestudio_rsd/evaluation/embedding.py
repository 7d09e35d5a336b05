"""Features of images of any sizes, computed in batches."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import torch
from torch import Tensor

from ..errors import UserError

BATCH = 32  # images in a network at once


def embed(network: Callable[[Tensor], Tensor], images: Iterable[Tensor], device: str = "cpu") -> Tensor:
    """Features of images of any sizes, in their order, on the CPU; the network resizes.

    Args:
        network: (B, 3, H, W) -> (B, ...).
        images: each (3, H, W) in [0, 1].
        device: device of the network.

    Returns:
        (N, D)

    Raises:
        UserError: the images differ in size, and the size of the network's features depends on it.
    """
    found = [network(torch.stack(batch).to(device)).flatten(1).float().cpu() for batch in _batches(images)]
    if len({features.shape[1] for features in found}) > 1:
        raise UserError("the images differ in size, and this network does not resize; accepted: images of one size.")
    return torch.cat(found)


def _batches(images: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Batches of up to BATCH consecutive images of one shape."""
    for _, same in groupby(images, key=lambda image: image.shape):
        batch: list[Tensor] = []
        for image in same:
            batch.append(image)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
