"""Metrics of a set of images against a reference set: FID and KID (by torchmetrics), recall and coverage.

All take features of the images (N, D) and of the reference images (M, D) from the same network. Their values depend on
N and M, so only values for equal numbers of images are comparable.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError, first_line, require
from ..finite import require_finite

NEAREST = 5  # k of recall and coverage (Naeem et al., 2020, section 4)
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000  # defaults of torchmetrics
CHUNK = 1024  # rows of the distance matrix that are computed at a time
INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # file name that torch-fidelity uses


class _PrecomputedFeatures(nn.Module):
    """Identity in the place of a feature network, for features that are already computed."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features (Heusel et al., 2017, eq. 6).

    With Inception's features this is FID. The distance increases as N and M decrease.

    Args:
        features: features of the images, (N, D).
        reference: features of the reference images, (M, D).

    Raises:
        UserError: fewer than two images or references, or different D.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check(features, reference, least=2)
    metric: Any = FrechetInceptionDistance(feature=_PrecomputedFeatures(features.shape[1])).set_dtype(torch.double)
    metric.update(reference.double().cpu(), real=True)
    metric.update(features.double().cpu(), real=False)
    return max(0.0, float(metric.compute()))


def kernel_inception_distance(features: Tensor, reference: Tensor, seed: int = 0) -> float:
    """Kernel inception distance (Binkowski et al., 2018): unbiased estimate of the squared MMD; may be negative.

    Args:
        features: features of the images, (N, D).
        reference: features of the reference images, (M, D).
        seed: seed of the random subsets, whose size is that of the smaller set, at most 1000.

    Raises:
        UserError: fewer than two images or references, or different D.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    _check(features, reference, least=2)
    size = min(len(features), len(reference), KID_SUBSET_SIZE)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # about the memory for all features
        torch.manual_seed(seed)
        network = _PrecomputedFeatures(features.shape[1])
        metric: Any = KernelInceptionDistance(network, subsets=KID_SUBSETS, subset_size=size)
        metric.update(reference.double().cpu(), real=True)
        metric.update(features.double().cpu(), real=False)
        mean, _ = metric.compute()
    return float(mean)


def recall(features: Tensor, reference: Tensor, nearest: int = NEAREST) -> float:
    """Share of the reference images that lie in the neighborhood of an image (Kynkaanniemi et al., 2019).

    The neighborhood of an image extends to the k-th nearest of the other images.

    Args:
        features: features of the images, (N, D).
        reference: features of the reference images, (M, D).
        nearest: k.

    Raises:
        UserError: k or fewer images, no reference image, or different D.
    """
    _check(features, reference, least=1)
    reach = _reach(features, nearest, "images")
    features = features.double()
    reached = [(torch.cdist(part, features) <= reach).any(1) for part in reference.double().split(CHUNK)]
    return float(torch.cat(reached).double().mean())


def coverage(features: Tensor, reference: Tensor, nearest: int = NEAREST) -> float:
    """Share of the reference images with an image in their neighborhood (Naeem et al., 2020).

    The neighborhood of a reference image extends to the k-th nearest of the other reference images. For N = M samples
    of the same distribution the coverage is about 1 - 2^-k.

    Args:
        features: features of the images, (N, D).
        reference: features of the reference images, (M, D).
        nearest: k.

    Raises:
        UserError: no image, k or fewer reference images, or different D.
    """
    _check(features, reference, least=1)
    reach = _reach(reference, nearest, "reference images")
    features = features.double()
    nearest_image = [torch.cdist(part, features).amin(1) for part in reference.double().split(CHUNK)]
    return float((torch.cat(nearest_image) <= reach).double().mean())


def load_inception(device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """Load the InceptionV3 of FID through torchmetrics and torch-fidelity.

    Args:
        device: device of the network.

    Returns:
        Function from images (N, 3, H, W) in [0, 1] to features (N, 2048).

    Raises:
        UserError: torch-fidelity or the weights are missing; the message says how to get them.
    """
    require("torch_fidelity", "evaluate")
    from torchmetrics.image.fid import FrechetInceptionDistance

    try:
        network: Any = FrechetInceptionDistance(feature=2048).inception
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the weights of Inception cannot be loaded ({first_line(error)}); run once where github.com can be "
            f"reached, or put {INCEPTION_WEIGHTS} into {torch.hub.get_dir()}/checkpoints."
        ) from error
    network = network.to(device)
    return lambda images: network((images.clamp(0, 1) * 255).round().byte())  # the network resizes and normalizes


def _check(features: Tensor, reference: Tensor, least: int) -> None:
    """Raise UserError unless the shapes fit, both sets have at least `least` images, and all values are finite."""
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        shapes = f"{tuple(features.shape)} and {tuple(reference.shape)}"
        raise UserError(f"features of shapes {shapes} cannot be compared; accepted: (N, D) and (M, D).")
    if min(len(features), len(reference)) < least:
        raise UserError(
            f"{len(features)} images and {len(reference)} reference images are too few; accepted: {least} or more."
        )
    require_finite("the features", features)
    require_finite("the reference features", reference)


def _reach(features: Tensor, nearest: int, what: str) -> Tensor:
    """Distance of each feature vector of (N, D) to the k-th nearest of the others: (N,), double."""
    if len(features) <= nearest:
        raise UserError(f"{len(features)} {what} are too few for {nearest} neighbors; accepted: {nearest + 1} or more.")
    features = features.double()
    # k + 1, because the nearest is the point itself.
    return torch.cat([torch.cdist(part, features).kthvalue(nearest + 1, 1).values for part in features.split(CHUNK)])
