"""Distances between a set of images and a reference set: FID and KID (torchmetrics), recall and coverage.

All of them are functions of features (N, D) of the images and (M, D) of the reference, in one network. They depend on
N and M: compare equal numbers only.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError, first_line, require

NEAREST = 5  # k of recall and coverage (Naeem et al., 2020, section 4)
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000  # torchmetrics' own
CHUNK = 1024  # rows of a matrix of distances at once
INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity calls them


class _Given(nn.Module):
    """Identity in place of a feature network, for features that are already computed."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Squared Frechet distance of the Gaussians fitted to features (N, D) and (M, D); of Inception's features: FID.

    Heusel et al. (2017), eq. 6. It grows as N and M fall.

    Raises:
        UserError: fewer than two images or references, or different D.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check(features, reference, least=2)
    metric: Any = FrechetInceptionDistance(feature=_Given(features.shape[1])).set_dtype(torch.double)
    metric.update(reference.double().cpu(), real=True)
    metric.update(features.double().cpu(), real=False)
    return max(0.0, float(metric.compute()))


def kernel_inception_distance(features: Tensor, reference: Tensor, seed: int = 0) -> float:
    """KID (Binkowski et al., 2018): features (N, D) and (M, D) -> mean squared MMD, without bias; may be below 0.

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
        warnings.simplefilter("ignore")  # that it keeps all features, which are here anyway
        torch.manual_seed(seed)
        metric: Any = KernelInceptionDistance(_Given(features.shape[1]), subsets=KID_SUBSETS, subset_size=size)
        metric.update(reference.double().cpu(), real=True)
        metric.update(features.double().cpu(), real=False)
        mean, _ = metric.compute()
    return float(mean)


def recall(features: Tensor, reference: Tensor, nearest: int = NEAREST) -> float:
    """Share of the reference within reach of an image (Kynkaanniemi et al., 2019): features (N, D) and (M, D).

    An image reaches as far as its k-th nearest fellow image.

    Raises:
        UserError: no more than k images, no reference, or different D.
    """
    _check(features, reference, least=1)
    reach = _reach(features, nearest, "images")
    features = features.double()
    reached = [(torch.cdist(part, features) <= reach).any(1) for part in reference.double().split(CHUNK)]
    return float(torch.cat(reached).double().mean())


def coverage(features: Tensor, reference: Tensor, nearest: int = NEAREST) -> float:
    """Share of the reference with an image in its neighborhood (Naeem et al., 2020): features (N, D) and (M, D).

    A neighborhood reaches as far as the k-th nearest fellow of the reference. Of as many samples of one distribution
    about 1 - 2^-k is covered.

    Raises:
        UserError: no image, no more than k of the reference, or different D.
    """
    _check(features, reference, least=1)
    reach = _reach(reference, nearest, "reference images")
    features = features.double()
    nearest_image = [torch.cdist(part, features).amin(1) for part in reference.double().split(CHUNK)]
    return float((torch.cat(nearest_image) <= reach).double().mean())


def load_inception(device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """InceptionV3 of FID, through torchmetrics and torch-fidelity: images (N, 3, H, W) in [0, 1] -> (N, 2048).

    Raises:
        UserError: torch-fidelity or the weights are missing; says how to get them.
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
    return lambda images: network((images.clamp(0, 1) * 255).round().byte())  # it resizes and normalizes by itself


def _check(features: Tensor, reference: Tensor, least: int) -> None:
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        shapes = f"{tuple(features.shape)} and {tuple(reference.shape)}"
        raise UserError(f"features of shapes {shapes} cannot be compared; accepted: (N, D) and (M, D).")
    if min(len(features), len(reference)) < least:
        raise UserError(
            f"{len(features)} images and {len(reference)} reference images are too few; accepted: {least} or more."
        )


def _reach(features: Tensor, nearest: int, what: str) -> Tensor:
    """Distance of each of (N, D) to its k-th nearest fellow: (N,), double."""
    if len(features) <= nearest:
        raise UserError(f"{len(features)} {what} are too few for {nearest} neighbors; accepted: {nearest + 1} or more.")
    features = features.double()
    # The nearest of all is the point itself.
    return torch.cat([torch.cdist(part, features).kthvalue(nearest + 1, 1).values for part in features.split(CHUNK)])
