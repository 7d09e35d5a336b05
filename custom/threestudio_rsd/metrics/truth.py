"""What can be known on the bundled world, where every image has true attributes."""

from torch import Tensor


def modes_covered(*labels: Tensor) -> int:
    """Number of distinct combinations of attributes among the particles: each labels (N,), such as colours."""
    return len(set(zip(*(label.tolist() for label in labels), strict=True)))
