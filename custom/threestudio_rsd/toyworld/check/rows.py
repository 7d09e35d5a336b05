"""Measures of the bundled networks: one function for each group of rows of the table."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...metrics.distribution import frechet_distance
from ...metrics.reconstruction import psnr
from ...quiet import quiet_models
from ..captions import caption
from ..judge import ToyworldJudge
from ..truth import (
    MODES,
    accuracy,
    entropy,
    expected_entropy,
    expected_total_variation,
    joint,
    modes_covered,
    total_variation,
    true_distribution,
)
from ..world import CLASSES, COLORS, VIEWS
from .drawing import Labeled

BATCH = 64
FORMATS = {"%": "{:.1%}", "dB": "{:.1f} dB", "bits": "{:.2f} bits", "": "{:.3g}"}


@dataclass(frozen=True)
class CheckRow:
    """One line of the table.

    Attributes:
        measure: name of the quantity.
        measured: its value.
        needed: smallest value that passes; None: the row is for information only.
        unit: % (of a share in [0, 1]), dB, bits or none.
        note: details, printed below the row.
    """

    measure: str
    measured: float
    needed: float | None = None
    unit: str = "%"
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the value is at least the needed one; None if no value is needed."""
        return None if self.needed is None else self.measured >= self.needed

    def show(self, value: float) -> str:
        """A value formatted in the row's unit."""
        return FORMATS[self.unit].format(value)

    @property
    def verdict(self) -> str:
        """`pass`, or by how much the row misses; empty if no value is needed."""
        if self.needed is None:
            return ""
        shortfall = self.needed - self.measured
        shown = f"{100 * shortfall:.1f} points" if self.unit == "%" else self.show(shortfall)
        return "pass" if self.passed else f"missed by {shown}"


def judge_rows(judge: ToyworldJudge, held_out: Labeled) -> list[CheckRow]:
    """Accuracy of the judge on renders, for each attribute."""
    predicted = _predict(judge, held_out.images)
    needed = {"class": 0.99, "color": 0.99}
    return [
        CheckRow(f"judge on held-out renders: {name}", accuracy(predicted[name], true), needed.get(name))
        for name, true in held_out.labels.items()
    ]


def autoencoder_rows(folder: Path, images: Tensor) -> list[CheckRow]:
    """PSNR of the autoencoder's reconstructions of images (N, 3, 64, 64) in [0, 1], from the mode of the posterior."""
    from diffusers import AutoencoderKL

    autoencoder = AutoencoderKL.from_pretrained(folder).float().eval()
    with torch.no_grad():
        decoded = [
            autoencoder.decode(autoencoder.encode(part * 2 - 1).latent_dist.mode()).sample / 2 + 0.5
            for part in images.split(BATCH)
        ]
    return [
        CheckRow("autoencoder PSNR on held-out renders", float(psnr(torch.cat(decoded), images).mean()), 30.0, "dB")
    ]


def class_rows(judge: ToyworldJudge, samples: Labeled) -> list[CheckRow]:
    """Class accuracy of samples: their share of the class that the prompt names."""
    return [_sample_row("samples, CFG 3, all 8 classes: class accuracy", 0.95, judge, samples, "class", CLASSES)]


def color_rows(judge: ToyworldJudge, samples: Labeled) -> list[CheckRow]:
    """Color and class accuracy of samples whose prompts name both."""
    return [
        _sample_row("prompts that name the color: color accuracy", 0.95, judge, samples, "color", COLORS),
        _sample_row("prompts that name the color: class accuracy", None, judge, samples, "class", CLASSES),
    ]


def view_rows(judge: ToyworldJudge, samples: Labeled) -> list[CheckRow]:
    """View accuracy of samples whose prompts name a view, for all classes and for the worst one."""
    right = _predict(judge, samples.images)["view"] == samples.labels["view"]
    classes = _by_value(right, samples.labels["class"], CLASSES)
    row = _sample_row("view words: view accuracy (all 8 classes)", 0.75, judge, samples, "view", VIEWS)
    return [row, CheckRow("view words: worst class", min(classes.values()), note=_list(classes))]


def diversity_rows(judge: ToyworldJudge, images: Mapping[float, Tensor]) -> list[CheckRow]:
    """Number and entropy of the colors in samples whose prompts name none.

    Args:
        judge: classifier of the attributes.
        images: samples (N, 3, 64, 64) by guidance scale; the scale with the fewest colors counts.
    """
    colors = {scale: _predict(judge, part)["color"] for scale, part in images.items()}
    covered = {f"CFG {scale:g}": modes_covered(part) for scale, part in colors.items()}
    bits = {f"CFG {scale:g}": entropy(part, len(COLORS)) for scale, part in colors.items()}
    n = len(next(iter(images.values())))
    name = f"color-open prompts, {' and '.join(covered)}, {n} samples each"
    return [
        CheckRow(f"{name}: colors covered", min(covered.values()), len(COLORS), "", _list(covered, "{:g}")),
        CheckRow(f"{name}: entropy", min(bits.values()), 2.8, "bits", _list(bits, "{:.2f}")),
    ]


def within_class_rows(judge: ToyworldJudge, samples: Labeled) -> list[CheckRow]:
    """Mean color entropy within a class, which is small if each class has a color of its own."""
    colors = _predict(judge, samples.images)["color"]
    classes = samples.labels["class"]
    bits = {CLASSES[i]: entropy(colors[classes == i], len(COLORS)) for i in classes.unique().tolist()}
    expected = expected_entropy(true_distribution()["color"], len(classes) // len(bits))
    name = f"color-open prompts, CFG 3: entropy within a class, mean (truth: {expected:.2f})"
    return [CheckRow(name, sum(bits.values()) / len(bits), None, "bits", _list(bits, "{:.2f}"))]


def truth_rows(
    judge: ToyworldJudge, images: Mapping[float, Tensor], reference: Labeled, held_out: Labeled
) -> list[CheckRow]:
    """Distance of color-open samples to the truth, beside that of as many renders.

    Args:
        judge: classifier of the attributes, and feature network of the Frechet distance.
        images: samples (N, 3, 64, 64) by guidance scale.
        reference: renders that represent the truth.
        held_out: other renders, as the samples of a perfect model.
    """
    true = true_distribution()
    n = len(next(iter(images.values())))
    renders = embed(judge.features, reference.images)
    floor = frechet_distance(embed(judge.features, held_out.images[:n]), renders)
    rows = []
    for scale, part in images.items():
        labels = _predict(judge, part)
        single = total_variation(labels, true)
        modes = total_variation({name: labels[name] for name in MODES}, true)["joint"]
        rows += [
            CheckRow(
                f"Frechet distance, judge's features, CFG {scale:g} (as many renders: {floor:.3g})",
                frechet_distance(embed(judge.features, part), renders),
                unit="",
            ),
            CheckRow(
                f"total variation, class x color x background, CFG {scale:g} "
                f"(truth: {expected_total_variation(joint(true), n):.2f})",
                modes,
                unit="",
                note=", ".join(
                    f"{name} {single[name]:.2f} (truth: {expected_total_variation(true[name], n):.2f})"
                    for name in labels
                ),
            ),
        ]
    return rows


def clip_rows(folder: Path, held_out: Labeled) -> list[CheckRow]:
    """Accuracy of a CLIP in choosing the caption of a render among 64, one for each class and color."""
    from transformers import CLIPModel, CLIPTokenizer

    with quiet_models():
        clip = CLIPModel.from_pretrained(folder).float().eval()
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(processor[name])[:, None, None] for name in ("image_mean", "image_std"))
    texts = [caption(i, k) for i in range(len(CLASSES)) for k in range(len(COLORS))]
    tokens = CLIPTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        best = [
            clip(**tokens, pixel_values=(part - mean) / std).logits_per_image for part in held_out.images.split(BATCH)
        ]
    predicted = torch.cat(best).argmax(1)
    object_class, color = predicted // len(COLORS), predicted % len(COLORS)
    right = (object_class == held_out.labels["class"]) & (color == held_out.labels["color"])
    note = {
        "class": accuracy(object_class, held_out.labels["class"]),
        "color": accuracy(color, held_out.labels["color"]),
    }
    return [
        CheckRow("CLIP: class and color (64 captions) on held-out renders", accuracy(right, 1), 0.95, note=_list(note))
    ]


def pixel_rows(judge: ToyworldJudge, samples: Labeled) -> list[CheckRow]:
    """Class accuracy of samples of the pixel-space model."""
    return [_sample_row("pixel-space model, CFG 3: class accuracy", None, judge, samples, "class", CLASSES)]


def flow_rows(judge: ToyworldJudge, samples: Labeled, colored: Labeled, reference: Labeled) -> list[CheckRow]:
    """Classes, colors and distance to the truth of samples of the flow-matching model.

    Args:
        judge: classifier of the attributes, and feature network of the Frechet distance.
        samples: samples whose prompts name no color.
        colored: samples whose prompts name one.
        reference: renders that represent the truth.
    """
    colors = _predict(judge, samples.images)["color"]
    name = "flow-matching model, CFG 3"
    distance = frechet_distance(embed(judge.features, samples.images), embed(judge.features, reference.images))
    return [
        _sample_row(f"{name}: class accuracy", 0.95, judge, samples, "class", CLASSES),
        _sample_row(f"{name}, prompts that name the color: color accuracy", 0.95, judge, colored, "color", COLORS),
        CheckRow(f"{name}, color-open prompts: colors covered", modes_covered(colors), len(COLORS), ""),
        CheckRow(f"{name}, color-open prompts: entropy", entropy(colors, len(COLORS)), 2.8, "bits"),
        CheckRow(f"{name}: Frechet distance, judge's features", distance, unit=""),
    ]


@torch.no_grad()
def embed(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Features (N, ...) of images (N, 3, 64, 64), computed in batches.

    Args:
        network: feature network.
        images: images (N, 3, 64, 64) in [0, 1].
    """
    return torch.cat([network(part) for part in images.split(BATCH)])


def _sample_row(
    measure: str, needed: float | None, judge: ToyworldJudge, samples: Labeled, attribute: str, names: Sequence[str]
) -> CheckRow:
    right = _predict(judge, samples.images)[attribute] == samples.labels[attribute]
    return CheckRow(measure, accuracy(right, 1), needed, note=_list(_by_value(right, samples.labels[attribute], names)))


def _by_value(right: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Share of True in `right` (N,) for each value of labels (N,)."""
    return {names[i]: accuracy(right[labels == i], 1) for i in labels.unique().tolist()}


def _list(values: Mapping[str, float], form: str = "{:.0%}") -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())


def _predict(judge: ToyworldJudge, images: Tensor) -> dict[str, Tensor]:
    parts = [judge.predict(part) for part in images.split(BATCH)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
