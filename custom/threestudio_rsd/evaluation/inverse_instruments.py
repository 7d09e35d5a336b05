"""What measures the answers to inverse problems, on renders of the bundled world or on images of a folder."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..metrics import diversity, frechet_distance, load_lpips, reconstruction_metrics
from ..metrics.distribution import load_inception
from ..repulsion import load_features
from ..toyworld import ToyworldJudge
from ..toyworld.render import render_scenes
from ..toyworld.world import choose_scenes

REFERENCE_SEED, FLOOR_SEED = 70_000, 60_001  # of renders; training used neither
REFERENCES = 1000  # renders that the Frechet distance is measured to
CHUNK = 64  # images in the network at once
DIVERSITIES = {"diversity": "dino", "diversity_clip": "clip"}


class InverseInstruments:
    """Networks that measure, loaded once; what cannot be had is left out, with a line on the terminal that says why.

    Renders are measured by the bundled world's judge, and compared with other renders in its features. Images of a
    folder have no known class; answers are compared with the images themselves in Inception's features (FID).

    Args:
        images: truth, (M, 3, H, W) in [0, 1].
        classes: (M,), of renders; None: images of a folder.
        is_bundled: whether the prior is a bundled one, whose networks then measure diversity.
        device: where the networks run.
    """

    def __init__(self, images: Tensor, classes: Tensor | None, is_bundled: bool, device: str) -> None:
        self.device = device
        self.judge = None if classes is None else ToyworldJudge.bundled(device)
        self.lpips = _or_none("LPIPS", load_lpips, device)
        loaded = {
            key: _or_none(f"Diversity in {name.upper()}", load_features, name, is_bundled, device)
            for key, name in DIVERSITIES.items()
        }
        self.networks = {key: network for key, network in loaded.items() if network is not None}
        self._extract: Any
        if self.judge is not None:
            self._extract, reference = self.judge.features, render_scenes(choose_scenes(REFERENCES, REFERENCE_SEED))
        else:
            self._extract, reference = _or_none("FID", load_inception, device), images
        self._reference = self.embed(reference)

    @torch.no_grad()
    def measure(self, answers: Tensor, images: Tensor, classes: Tensor | None) -> dict[str, list[float]]:
        """One number an image by metric, of answers (B, N, 3, H, W) to images (B, 3, H, W)."""
        answers = answers.to(self.device)
        quality = reconstruction_metrics(answers, images.to(self.device), self.lpips)
        values = {key: quality[key]["mean"].tolist() for key in quality}
        for key, network in self.networks.items():
            values[key] = [float(diversity(network(each))) for each in answers]
        if self.judge is not None and classes is not None:
            labels = [self.judge.predict(each) for each in answers]
            values["consistent"] = [
                float((label["class"].cpu() == true).float().mean())
                for label, true in zip(labels, classes, strict=True)
            ]
            values["colors"] = [float(len(label["color"].unique())) for label in labels]
        return values

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Features (K, D) in which images (K, 3, H, W) are compared with the reference; D = 0 without a network."""
        if self._extract is None:
            return torch.empty(len(images), 0)
        return torch.cat([self._extract(part.to(self.device)).cpu() for part in images.split(CHUNK)])

    def frechet(self, features: Tensor) -> float | None:
        """Frechet distance of features (K, D) to the reference; None without a network, or of single images."""
        if self._extract is None or min(len(features), len(self._reference)) < 2:
            return None
        return frechet_distance(features, self._reference)

    def floor(self, count: int) -> float | None:
        """Frechet distance of as many renders, which no method can beat but by chance; None without renders."""
        if self.judge is None:
            return None
        return self.frechet(self.embed(render_scenes(choose_scenes(max(count, 2), FLOOR_SEED))))


def _or_none(what: str, load: Callable[..., Any], *arguments: Any) -> Any:
    """A network, or None where it cannot be had."""
    try:
        return load(*arguments)
    except UserError as error:
        print(f"{what} is left out: {error}")
        return None
