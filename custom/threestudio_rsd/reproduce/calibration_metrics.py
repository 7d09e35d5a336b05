"""Metrics of answers against the true posterior of the bundled world: attributes, diversity, and ranks of the truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..inverse.answer_metrics import answer_metrics
from ..metrics.calibration import interval_coverage, rank_histogram
from ..repulsion import load_features
from ..toyworld import ToyworldJudge

ATTRIBUTES = ("color", "view", "background")  # whose values are counted
FEATURES = ("dino", "clip")  # networks of the diversity
TIE = 2 / 255  # difference of pixels that counts as none
LEAST_SHARE = 0.02  # of the scenes that agree, for a value to be possible


def possible_values(labels: Tensor) -> dict[int, float]:
    """Share of each value that is possible: that at least LEAST_SHARE of the scenes show.

    Args:
        labels: label of each scene, (S,).

    Example:
        >>> possible_values(torch.tensor([0, 0, 0, 2]))
        {0: 0.75, 2: 0.25}
    """
    values, counts = labels.unique(return_counts=True)
    shares = dict(zip(values.tolist(), (counts / len(labels)).tolist(), strict=True))
    return {value: share for value, share in shares.items() if share >= LEAST_SHARE}


def count_values(answers: Mapping[str, Tensor], scenes: Mapping[str, Tensor], n_few: int) -> tuple[float, float, float]:
    """Attribute values that the answers find.

    Args:
        answers: labels of the answers to one image, (N,) by attribute.
        scenes: labels of the scenes that agree with the measurement, (S,) by attribute.
        n_few: number of answers, from the first, whose different values are counted.

    Returns:
        Number of possible values among the first answers; number that as many independent draws from the scenes find in
        the mean; share of all answers with an impossible value.
    """
    found, expected = 0.0, 0.0
    impossible = torch.zeros(len(next(iter(answers.values()))), dtype=torch.bool)
    for name in answers:
        possible = possible_values(scenes[name])
        found += len(set(answers[name][:n_few].tolist()) & possible.keys())
        expected += sum(1 - (1 - share) ** n_few for share in possible.values())
        impossible |= ~torch.isin(answers[name], torch.tensor(list(possible)))
    return found, expected, float(impossible.float().mean())


class CalibrationInstruments:
    """Measures the answers of a solver to one problem.

    Args:
        n_few: see `count_values`.
        device: device of the networks.
    """

    def __init__(self, n_few: int, device: str) -> None:
        self.n_few = n_few
        self.device = device
        self.judge = ToyworldJudge.bundled(device)
        self.networks = {name: load_features(name, True, device) for name in FEATURES}

    @torch.no_grad()
    def measure(
        self, answers: Tensor, truth: Tensor, possible: Sequence[Mapping[str, Tensor]], physics: Any
    ) -> dict[str, Any]:
        """Metrics of N answers to each of M images.

        Args:
            answers: (M, N, 3, H, W) in [0, 1].
            truth: (M, 3, H, W) in [0, 1].
            possible: labels of the scenes that agree with the measurement of each image, see `labels`.
            physics: forward operator; for inpainting, ranks are those of the hidden pixels.

        Returns:
            `values`, a list with a number for each image: `psnr`, `psnr_of_mean`, `diversity_dino`, `diversity_clip`,
            `found_values`, `expected_values`, `impossible`; `ranks`, the rank histogram of all hidden pixels;
            `interval_coverage` of the central 90 % interval.
        """
        records = answer_metrics(answers.to(self.device), truth.to(self.device), networks=self.networks)
        keys = ("psnr", "psnr_of_mean", *(f"diversity_{name}" for name in FEATURES))
        values: dict[str, list[float]] = {key: [record[key] for record in records] for key in keys}
        counted = [
            count_values(self.labels(images), scenes, self.n_few)
            for images, scenes in zip(answers, possible, strict=True)
        ]
        for key, numbers in zip(
            ("found_values", "expected_values", "impossible"), zip(*counted, strict=True), strict=True
        ):
            values[key] = list(numbers)
        hidden = hidden_pixels(physics, truth)
        ranks = rank_histogram(answers.transpose(0, 1)[:, hidden].cpu(), truth[hidden], TIE)
        return {"values": values, "ranks": ranks.tolist(), "interval_coverage": interval_coverage(ranks)}

    def labels(self, images: Tensor) -> dict[str, Tensor]:
        """Values that the judge sees in images (N, 3, H, W), (N,) by attribute."""
        found = self.judge.predict(images.to(self.device))
        return {name: found[name].cpu() for name in ATTRIBUTES}


def hidden_pixels(physics: Any, truth: Tensor) -> Tensor:
    """Entries of the images that the operator does not show, as booleans like `truth`; all unless it is inpainting."""
    from deepinv.physics import Inpainting

    if not isinstance(physics, Inpainting):
        return torch.ones_like(truth, dtype=torch.bool)
    return (physics.mask.cpu() == 0).expand_as(truth)
