"""Linear probe of the self-supervised feature network.

As Caron et al. (2021, section 4.1 and appendix) evaluate their small ViT, the probe reads the class tokens of the last
four layers together. The rows of the last layer alone, whose features the repulsion uses, stand beside.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ...repulsion.features import TransformerFeatures
from ..truth import accuracy
from .drawing import Labeled
from .rows import CheckRow, embed

PROBED_LAYERS = 4  # number of last layers whose class tokens the probe reads
PROBE_PENALTY = 1e-3  # weight of the squared weights in the logistic regression


def dino_rows(dino: TransformerFeatures, probe: Labeled, held_out: Labeled) -> list[CheckRow]:
    """Accuracy of linear probes of the feature network, from the last four layers and from the last one."""
    features, test_features = (
        embed(lambda images: class_tokens(dino, images), part.images) for part in (probe, held_out)
    )
    rows = probe_rows(features.flatten(1), probe.labels, test_features.flatten(1), held_out.labels)
    last = probe_rows(features[:, -1], probe.labels, test_features[:, -1], held_out.labels)
    return rows + [CheckRow(f"{row.measure}, class token of the last layer alone", row.measured) for row in last]


def class_tokens(dino: TransformerFeatures, images: Tensor) -> Tensor:
    """Class tokens of the last PROBED_LAYERS layers, each with the final layer norm: (N, 3, H, W) -> (N, L, D)."""
    pixels = (images - dino.mean) / dino.std
    layers = dino.network(pixel_values=pixels, output_hidden_states=True).hidden_states[-PROBED_LAYERS:]
    return torch.stack([dino.network.layernorm(layer)[:, 0] for layer in layers], dim=1)


def probe_rows(
    features: Tensor, labels: Mapping[str, Tensor], test_features: Tensor, test_labels: Mapping[str, Tensor]
) -> list[CheckRow]:
    """Accuracy of logistic regressions on standardized features, one for each attribute.

    Args:
        features: features to fit to, (N, D).
        labels: labels to fit to, (N,) by attribute.
        test_features: features to test on, (M, D).
        test_labels: labels to test on, (M,) by attribute.
    """
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-6)
    needed = {"class": 0.85, "color": 0.95, "view": 0.70}
    return [
        CheckRow(
            f"DINO features, linear probe on held-out renders: {name}",
            accuracy(
                _probe((features - mean) / deviation, labels[name], (test_features - mean) / deviation),
                test_labels[name],
            ),
            share,
        )
        for name, share in needed.items()
    ]


def _probe(features: Tensor, labels: Tensor, test_features: Tensor) -> Tensor:
    """Labels (M,) predicted for (M, D) by a logistic regression fitted to (N, D) and (N,)."""
    weights = torch.zeros(int(labels.max()) + 1, features.shape[1], requires_grad=True)
    bias = torch.zeros(len(weights), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(features @ weights.T + bias, labels) + PROBE_PENALTY * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return (test_features @ weights.T + bias).argmax(1)
