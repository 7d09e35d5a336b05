"""Metrics of the bundled world, where the true distribution of every attribute is known.

Labels are indices (N,) of an attribute's values. A finite sample of the true distribution has less entropy than the
distribution and a positive distance to it; `expected_entropy` and `expected_total_variation` give both.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..errors import UserError, one_of
from ..metrics import frechet_distance
from . import world
from .judge import ToyworldJudge

MODES = ("class", "color", "background")  # the attributes whose combinations are counted as modes
GRID = 720  # cameras along each angle, from which the shares of the views are counted


def modes_covered(*labels: Tensor) -> int:
    """Number of distinct combinations of attributes.

    Args:
        *labels: labels (N,) of each attribute.

    Example:
        >>> modes_covered(torch.tensor([0, 0, 1]), torch.tensor([2, 2, 0]))
        2
    """
    return len(set(zip(*(label.tolist() for label in labels), strict=True)))


def entropy(labels: Tensor, n_values: int) -> float:
    """Entropy of the histogram of labels, in bits, from 0 to log2(n_values).

    Args:
        labels: labels (N,) in [0, n_values).
        n_values: number of possible values.

    Raises:
        UserError: no labels, or a label out of range.

    Example:
        >>> entropy(torch.tensor([0, 1, 2, 3]), 4)
        2.0
    """
    shares = _histogram(labels, n_values)
    return float(torch.special.entr(shares).sum() / math.log(2))


def accuracy(predicted: Tensor, true: Tensor | int) -> float:
    """Share of correct labels.

    Args:
        predicted: labels (N,).
        true: true labels (N,), or one label for all.
    """
    return float((predicted == true).double().mean())


def true_distribution(object_class: str | int | None = None, color: str | int | None = None) -> dict[str, Tensor]:
    """Probabilities of the values of each attribute, given the class and color that a prompt names.

    The attributes are independent. All but the view are uniform; the view follows from the cameras.

    Args:
        object_class: class by name or index; None: any.
        color: color by name or index; None: any.

    Returns:
        Probabilities (number of values,) by attribute.

    Raises:
        UserError: unknown class or color.
    """
    true = {name: torch.full((n,), 1 / n, dtype=torch.double) for name, n in world.ATTRIBUTES.items()}
    true["view"] = _view_distribution()
    for name, value, names in (("class", object_class, world.CLASSES), ("color", color, world.COLORS)):
        if value is not None:
            index = _index(name, value, names)
            true[name] = torch.nn.functional.one_hot(torch.tensor(index), len(names)).double()
    return true


def total_variation(labels: Mapping[str, Tensor], true: Mapping[str, Tensor]) -> dict[str, float]:
    """Distance of the samples' histogram to the truth: half the sum of |difference| over all values, in [0, 1].

    Args:
        labels: labels (N,) by attribute.
        true: probabilities of the values of each attribute, which are independent.

    Returns:
        The distance for each attribute of `labels`, and under `joint` for all of them together.
    """
    distances = {
        name: float((_histogram(label, len(true[name])) - true[name]).abs().sum() / 2) for name, label in labels.items()
    }
    # The histogram exceeds the truth only in cells that hold a sample, and by as much as it falls short elsewhere.
    cells, counts = torch.stack([label.cpu() for label in labels.values()], 1).unique(dim=0, return_counts=True)
    probability = torch.stack([true[name][cells[:, i]] for i, name in enumerate(labels)]).prod(0)
    distances["joint"] = float((counts.double() / counts.sum() - probability).clamp_min(0).sum())
    return distances


def expected_entropy(true: Tensor, n: int) -> float:
    """Mean entropy in bits of the histogram of n samples.

    Args:
        true: probabilities (K,).
        n: number of samples.
    """
    return _expectation(lambda shares, _: torch.special.entr(shares), true, n) / math.log(2)


def expected_total_variation(true: Tensor, n: int) -> float:
    """Mean total variation between probabilities and the histogram of n samples.

    Args:
        true: probabilities (K,).
        n: number of samples.
    """
    return _expectation(lambda shares, p: (shares - p).abs(), true, n) / 2


def joint(true: Mapping[str, Tensor], attributes: tuple[str, ...] = MODES) -> Tensor:
    """Probabilities of all combinations of independent attributes, (product of their numbers of values,).

    Args:
        true: probabilities of each attribute.
        attributes: names of the attributes.
    """
    probability = torch.ones(1, dtype=torch.double)
    for name in attributes:
        probability = torch.outer(probability, true[name]).flatten()
    return probability


@torch.no_grad()
def truth_metrics(
    images: Tensor,
    judge: ToyworldJudge,
    object_class: str | int | None = None,
    color: str | int | None = None,
    reference_images: Tensor | None = None,
) -> dict[str, float]:
    """All metrics of images of one prompt that follow from the judge.

    Args:
        images: images (N, 3, H, W) in [0, 1].
        judge: classifier of the attributes.
        object_class: class that the prompt names, by name or index; None: it names none.
        color: color that the prompt names, by name or index; None: it names none.
        reference_images: renders (M, 3, H, W) of the same prompt, for the Frechet distance in the judge's features.

    Returns:
        colors: number of colors; modes: distinct class x color x background; color_entropy in bits;
        class_accuracy and color_accuracy if the prompt names them; total_variation_ATTRIBUTE for each attribute, and
        total_variation_modes; frechet_distance if there are references and at least two images.
    """
    labels = judge.predict(images)
    true = true_distribution(object_class, color)
    result: dict[str, float] = {
        "colors": modes_covered(labels["color"]),
        "modes": modes_covered(*(labels[name] for name in MODES)),
        "color_entropy": entropy(labels["color"], len(world.COLORS)),
    }
    if object_class is not None:
        result["class_accuracy"] = accuracy(labels["class"], _index("class", object_class, world.CLASSES))
    if color is not None:
        result["color_accuracy"] = accuracy(labels["color"], _index("color", color, world.COLORS))
    variations = total_variation(labels, true)
    result |= {f"total_variation_{name}": variations[name] for name in labels}
    result["total_variation_modes"] = total_variation({name: labels[name] for name in MODES}, true)["joint"]
    if reference_images is not None and len(images) > 1:
        result["frechet_distance"] = frechet_distance(judge.features(images), judge.features(reference_images))
    return result


def _histogram(labels: Tensor, n_values: int) -> Tensor:
    """Share of each value among labels (N,): (n_values,), double."""
    if labels.ndim != 1 or len(labels) == 0 or not 0 <= int(labels.min()) <= int(labels.max()) < n_values:
        raise UserError(f"labels {labels.tolist()} are impossible; accepted: at least one, each 0 to {n_values - 1}.")
    return torch.bincount(labels.cpu(), minlength=n_values).double() / len(labels)


def _expectation(summand: Callable[[Tensor, Tensor], Tensor], true: Tensor, n: int) -> float:
    """Mean over samples of size n of the sum over values of summand(share of the value, its probability)."""
    probability = true.double()[:, None]  # (K, 1)
    count = torch.arange(n + 1, dtype=torch.double)
    weight = torch.distributions.Binomial(n, probability).log_prob(count).exp()  # (K, n + 1)
    return float((weight * summand(count / n, probability)).sum())


def _view_distribution() -> Tensor:
    """Share of each of VIEWS among the world's cameras (number of views,)."""

    def midpoints(low: float, high: float) -> Tensor:
        return low + (high - low) * (torch.arange(GRID, dtype=torch.double) + 0.5) / GRID

    azimuth = midpoints(-180.0, 180.0)[:, None]
    shares = torch.zeros(len(world.VIEWS), dtype=torch.double)
    ranges = ((world.ELEVATIONS, 1 - world.OVERHEAD_SHARE), (world.OVERHEAD_ELEVATIONS, world.OVERHEAD_SHARE))
    for bounds, weight in ranges:
        shares += weight * _histogram(world.view_of(azimuth, midpoints(*bounds)).flatten(), len(world.VIEWS))
    return shares


def _index(attribute: str, value: str | int, names: tuple[str, ...]) -> int:
    if isinstance(value, str):
        one_of(attribute, value, names)
        return names.index(value)
    if not 0 <= value < len(names):
        raise UserError(f"{attribute}={value} is out of range; accepted: 0 to {len(names) - 1}.")
    return value
