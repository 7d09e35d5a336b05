"""`rsd toyworld check`: whether the bundled networks are as good as they must be.

Samples come from plain diffusers pipelines (50 steps of the model's own scheduler, each sample with a seed of its own)
and are told apart by the judge; renders come from seeds that no training uses. At most ten minutes on two cores:

- color-open prompts, `a CLASS`: 32 of each class at guidance scale 1 and at 3, 256 each; those at 3 also measure
  the class accuracy, and both the distance to the truth;
- prompts with a color, all 64: 3 of each, 192 samples at guidance scale 3;
- prompts with a view, all 32: 6 of each, 192 samples at guidance scale 3;
- 32 samples of the pixel-space model, 4 of each class, where there is one;
- 1000 held-out renders, and 8000 others that the linear probe is fitted to, on the class tokens of the last four layers
  together, as Caron et al. (2021, section 4.1 and appendix) evaluate their small ViT; that of the last layer alone, in
  which particles repel each other, is shown beside it.

With these numbers a measured share of 95 % has a standard error of 1.4 % for 256 samples, 1.6 % for 192 and 0.7 % for
1000 renders; one of 75 % for 192 samples has 3.1 %.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UserError
from ...metrics.reconstruction import psnr
from ...quiet import quiet_transformers
from ...repulsion.features import TransformerFeatures, load_features
from ..captions import caption
from ..judge import ToyworldJudge
from ..sampling import STEPS, Request, draw_renders, draw_samples
from ..truth import (
    MODES,
    accuracy,
    entropy,
    expected_entropy,
    expected_total_variation,
    frechet_distance,
    joint,
    modes_covered,
    total_variation,
    true_distribution,
)
from ..world import CLASSES, COLORS, VIEWS

PARTS = ("text-to-image", "dino", "clip", "judge")  # folders that there must be; `pixel` may be missing
HELD_OUT_SEED, PROBE_SEED = 7_000_001, 7_000_002  # of scenes; the trainings' seeds stay below a million
OPEN_SEED, COLOR_SEED, VIEW_SEED, PIXEL_SEED = 10_000, 20_000, 30_000, 40_000  # of the first sample's noise
GUIDANCE_SCALES = (1.0, 3.0)  # of the color-open prompts: the ends of the range
BATCH = 64
PROBED_LAYERS = 4  # whose class tokens the linear probe reads
PROBE_PENALTY = 1e-3  # of the squared weights of the logistic regression
FORMATS = {"%": "{:.1%}", "dB": "{:.1f} dB", "bits": "{:.2f} bits", "": "{:.3g}"}


@dataclass(frozen=True)
class Row:
    """One line of the table; without `needed` it is for information."""

    measure: str
    measured: float
    needed: float | None = None  # at least
    unit: str = "%"  # % (of a share in [0, 1]), dB, bits or none
    note: str = ""

    @property
    def passed(self) -> bool | None:
        return None if self.needed is None else self.measured >= self.needed

    def show(self, value: float) -> str:
        """A value in the row's unit."""
        return FORMATS[self.unit].format(value)

    @property
    def verdict(self) -> str:
        if self.needed is None:
            return ""
        shortfall = self.needed - self.measured
        shown = f"{100 * shortfall:.1f} points" if self.unit == "%" else self.show(shortfall)
        return "pass" if self.passed else f"missed by {shown}"


@dataclass(frozen=True)
class Counts:
    """How many samples and renders are drawn."""

    per_class: int = 32  # color-open, at each guidance scale
    per_caption: int = 3  # of each class and color
    per_view: int = 6  # of each class and view
    pixel_per_class: int = 4
    held_out: int = 1000  # renders
    probe: int = 8000  # renders
    steps: int = STEPS


@dataclass(frozen=True)
class Labeled:
    """Images (N, 3, 64, 64) in [0, 1] with what they should show, by attribute (N,)."""

    images: Tensor
    labels: dict[str, Tensor]


def check(folder: Path, workers: int, counts: Counts = Counts()) -> list[Row]:
    """All rows of the table for the networks in a folder.

    Raises:
        UserError: a network that is missing or cannot be loaded.
    """
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            f"--folder={str(folder)!r} lacks {', '.join(missing)}; accepted: a folder with {', '.join(PARTS)} in it."
        )
    judge = ToyworldJudge.from_folder(folder / "judge")
    dino: Any = load_features(str(folder / "dino"))
    held_out = _renders(counts.held_out, HELD_OUT_SEED, workers)
    probe = _renders(counts.probe, PROBE_SEED, workers)
    rows = [
        *judge_rows(judge, held_out),
        *autoencoder_rows(folder / "text-to-image" / "vae", held_out.images),
        *dino_rows(dino, probe, held_out),
        *clip_rows(folder / "clip", held_out),
    ]
    asked = _prompts(counts, pixel=(folder / "pixel").is_dir())
    images = draw_samples({name: request for name, (request, _) in asked.items()}, folder, workers, counts.steps)
    samples = {name: Labeled(images[name], labels) for name, (_, labels) in asked.items()}
    open_samples = {scale: samples[f"open {scale:g}"] for scale in GUIDANCE_SCALES}
    rows += [
        *class_rows(judge, open_samples[GUIDANCE_SCALES[-1]]),
        *color_rows(judge, samples["colored"]),
        *view_rows(judge, samples["viewed"]),
        *diversity_rows(judge, {scale: open_samples[scale].images for scale in GUIDANCE_SCALES}),
        *within_class_rows(judge, open_samples[GUIDANCE_SCALES[-1]]),
        *truth_rows(judge, {scale: open_samples[scale].images for scale in GUIDANCE_SCALES}, probe, held_out),
    ]
    if "pixel" in samples:
        rows += pixel_rows(judge, samples["pixel"])
    return rows


def judge_rows(judge: ToyworldJudge, held_out: Labeled) -> list[Row]:
    """How well the judge tells the attributes of renders."""
    predicted = _predict(judge, held_out.images)
    needed = {"class": 0.99, "color": 0.99}
    return [
        Row(f"judge on held-out renders: {name}", accuracy(predicted[name], true), needed.get(name))
        for name, true in held_out.labels.items()
    ]


def autoencoder_rows(folder: Path, images: Tensor) -> list[Row]:
    """PSNR of images (N, 3, 64, 64) in [0, 1] that went through the mode of their posterior and back."""
    from diffusers import AutoencoderKL

    autoencoder = AutoencoderKL.from_pretrained(folder).float().eval()
    with torch.no_grad():
        decoded = [
            autoencoder.decode(autoencoder.encode(part * 2 - 1).latent_dist.mode()).sample / 2 + 0.5
            for part in images.split(BATCH)
        ]
    return [Row("autoencoder PSNR on held-out renders", mean_psnr(torch.cat(decoded), images), 30.0, "dB")]


def class_rows(judge: ToyworldJudge, samples: Labeled) -> list[Row]:
    """Whether samples are of the class that their prompts name."""
    return [_sample_row("samples, CFG 3, all 8 classes: class accuracy", 0.95, judge, samples, "class", CLASSES)]


def color_rows(judge: ToyworldJudge, samples: Labeled) -> list[Row]:
    """Whether samples have the color that their prompts name."""
    return [
        _sample_row("prompts that name the color: color accuracy", 0.95, judge, samples, "color", COLORS),
        _sample_row("prompts that name the color: class accuracy", None, judge, samples, "class", CLASSES),
    ]


def view_rows(judge: ToyworldJudge, samples: Labeled) -> list[Row]:
    """Whether samples are seen from where their prompts say; the front of every class differs from its back."""
    right = _predict(judge, samples.images)["view"] == samples.labels["view"]
    classes = _by_value(right, samples.labels["class"], CLASSES)
    row = _sample_row("view words: view accuracy (all 8 classes)", 0.75, judge, samples, "view", VIEWS)
    return [row, Row("view words: worst class", min(classes.values()), note=_list(classes))]


def diversity_rows(judge: ToyworldJudge, images: Mapping[float, Tensor]) -> list[Row]:
    """Colors where prompts name none: images (N, 3, 64, 64) by guidance scale, of which the worst counts."""
    colors = {scale: _predict(judge, part)["color"] for scale, part in images.items()}
    covered = {f"CFG {scale:g}": modes_covered(part) for scale, part in colors.items()}
    bits = {f"CFG {scale:g}": entropy(part, len(COLORS)) for scale, part in colors.items()}
    n = len(next(iter(images.values())))
    name = f"color-open prompts, {' and '.join(covered)}, {n} samples each"
    return [
        Row(f"{name}: colors covered", min(covered.values()), len(COLORS), "", _list(covered, "{:g}")),
        Row(f"{name}: entropy", min(bits.values()), 2.8, "bits", _list(bits, "{:.2f}")),
    ]


def within_class_rows(judge: ToyworldJudge, samples: Labeled) -> list[Row]:
    """Color entropy of each class by itself, which the entropy of all classes together would not show."""
    colors = _predict(judge, samples.images)["color"]
    classes = samples.labels["class"]
    bits = {CLASSES[i]: entropy(colors[classes == i], len(COLORS)) for i in classes.unique().tolist()}
    expected = expected_entropy(true_distribution()["color"], len(classes) // len(bits))
    name = f"color-open prompts, CFG 3: entropy within a class, mean (truth: {expected:.2f})"
    return [Row(name, sum(bits.values()) / len(bits), None, "bits", _list(bits, "{:.2f}"))]


def truth_rows(
    judge: ToyworldJudge, images: Mapping[float, Tensor], reference: Labeled, held_out: Labeled
) -> list[Row]:
    """Distance of samples of all classes to the truth, beside that of as many renders.

    Args:
        judge: tells the attributes, and in its features the Frechet distance is measured.
        images: samples (N, 3, 64, 64) by guidance scale.
        reference: renders that the features are compared with.
        held_out: renders that stand in for a perfect model.
    """
    true = true_distribution()
    n = len(next(iter(images.values())))
    renders = _embed(judge.features, reference.images)
    floor = frechet_distance(_embed(judge.features, held_out.images[:n]), renders)
    rows = []
    for scale, part in images.items():
        labels = _predict(judge, part)
        single = total_variation(labels, true)
        modes = total_variation({name: labels[name] for name in MODES}, true)["joint"]
        rows += [
            Row(
                f"Frechet distance, judge's features, CFG {scale:g} (as many renders: {floor:.3g})",
                frechet_distance(_embed(judge.features, part), renders),
                unit="",
            ),
            Row(
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


def dino_rows(dino: TransformerFeatures, probe: Labeled, held_out: Labeled) -> list[Row]:
    """How much of the attributes a linear probe reads from the feature network."""
    features, test_features = (
        _embed(lambda images: class_tokens(dino, images), part.images) for part in (probe, held_out)
    )
    rows = probe_rows(features.flatten(1), probe.labels, test_features.flatten(1), held_out.labels)
    last = probe_rows(features[:, -1], probe.labels, test_features[:, -1], held_out.labels)
    return rows + [Row(f"{row.measure}, class token of the last layer alone", row.measured) for row in last]


def class_tokens(dino: TransformerFeatures, images: Tensor) -> Tensor:
    """Class tokens of the last PROBED_LAYERS layers, normalized as the last one is: (N, 3, H, W) -> (N, L, D)."""
    pixels = (images - dino.mean) / dino.std
    layers = dino.network(pixel_values=pixels, output_hidden_states=True).hidden_states[-PROBED_LAYERS:]
    return torch.stack([dino.network.layernorm(layer)[:, 0] for layer in layers], dim=1)


def probe_rows(
    features: Tensor, labels: Mapping[str, Tensor], test_features: Tensor, test_labels: Mapping[str, Tensor]
) -> list[Row]:
    """Logistic regression on standardized features: (N, D) and labels to fit it, (M, D) and labels to test it."""
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-6)
    needed = {"class": 0.85, "color": 0.95, "view": 0.70}
    return [
        Row(
            f"DINO features, linear probe on held-out renders: {name}",
            accuracy(
                _probe((features - mean) / deviation, labels[name], (test_features - mean) / deviation),
                test_labels[name],
            ),
            share,
        )
        for name, share in needed.items()
    ]


def clip_rows(folder: Path, held_out: Labeled) -> list[Row]:
    """Which of 64 captions, one for each class and color, a CLIP gives to renders."""
    from transformers import CLIPModel, CLIPTokenizer

    with quiet_transformers():
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
    return [Row("CLIP: class and color (64 captions) on held-out renders", accuracy(right, 1), 0.95, note=_list(note))]


def pixel_rows(judge: ToyworldJudge, samples: Labeled) -> list[Row]:
    """Whether the pixel-space model's samples are of the class that their prompts name."""
    return [_sample_row("pixel-space model, CFG 3: class accuracy", None, judge, samples, "class", CLASSES)]


def mean_psnr(images: Tensor, reference: Tensor) -> float:
    """Mean over images (N, 3, H, W) in [0, 1] of the peak signal-to-noise ratio in dB."""
    return float(psnr(images, reference).mean())


def format_table(rows: Sequence[Row]) -> str:
    """The table as text."""
    width = max(len(row.measure) for row in rows)
    lines = [f"{'measure':{width}}  {'needed':>9}  {'measured':>9}"]
    for row in rows:
        needed = "" if row.needed is None else row.show(row.needed)
        line = f"{row.measure:{width}}  {needed:>9}  {row.show(row.measured):>9}  {row.verdict}".rstrip()
        lines += [line, f"    {row.note}"] if row.note else [line]
    return "\n".join(lines)


def save_rows(rows: Sequence[Row], file: Path, **facts: object) -> None:
    """Write the table as JSON, with facts about the run."""
    records = [asdict(row) | {"passed": row.passed, "verdict": row.verdict} for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**facts, "rows": records}, indent=2) + "\n")


def run_check(folder: Path, workers: int, output: Path | None) -> int:
    """Check, print the table, and write it: exit code 1 if anything is missed, else 0."""
    started = time.perf_counter()
    rows = check(folder, workers)
    seconds = time.perf_counter() - started
    missed = [row for row in rows if row.passed is False]
    print(format_table(rows))
    print(f"\n{len(missed)} of {sum(row.needed is not None for row in rows)} missed; {seconds:.0f} s")
    if output is not None:
        save_rows(rows, output, folder=str(folder), seconds=round(seconds), counts=asdict(Counts()))
    return 1 if missed else 0


def _renders(n: int, seed: int, workers: int) -> Labeled:
    images, scenes = draw_renders(n, seed, workers)
    return Labeled(images, scenes.labels())


def _prompts(counts: Counts, pixel: bool) -> dict[str, tuple[Request, dict[str, Tensor]]]:
    """What is sampled, and what the samples should show, by a name."""
    scale = GUIDANCE_SCALES[-1]
    (object_class,) = _combinations(len(CLASSES), copies=counts.per_class)
    asked = {f"open {weight:g}": _ask(weight, OPEN_SEED, object_class) for weight in GUIDANCE_SCALES}
    object_class, color = _combinations(len(CLASSES), len(COLORS), copies=counts.per_caption)
    asked["colored"] = _ask(scale, COLOR_SEED, object_class, color=color)
    object_class, view = _combinations(len(CLASSES), len(VIEWS), copies=counts.per_view)
    asked["viewed"] = _ask(scale, VIEW_SEED, object_class, view=view)
    if pixel:
        (object_class,) = _combinations(len(CLASSES), copies=counts.pixel_per_class)
        asked["pixel"] = _ask(scale, PIXEL_SEED, object_class, model="pixel")
    return asked


def _ask(
    guidance_scale: float,
    seed: int,
    object_class: Tensor,
    color: Tensor | None = None,
    view: Tensor | None = None,
    model: str = "text-to-image",
) -> tuple[Request, dict[str, Tensor]]:
    labels = {"class": object_class, "color": color, "view": view}
    named = {name: label for name, label in labels.items() if label is not None}
    prompts = tuple(
        caption(
            int(object_class[i]),
            None if color is None else int(color[i]),
            None if view is None else int(view[i]),
        )
        for i in range(len(object_class))
    )
    return Request(prompts, guidance_scale, seed, model), named


def _combinations(*numbers: int, copies: int) -> tuple[Tensor, ...]:
    """Every combination of indices below the numbers, `copies` times: one (N,) for each number."""
    grid = torch.meshgrid(*(torch.arange(n) for n in (*numbers, copies)), indexing="ij")
    return tuple(axis.flatten() for axis in grid[:-1])


def _sample_row(
    measure: str, needed: float | None, judge: ToyworldJudge, samples: Labeled, attribute: str, names: Sequence[str]
) -> Row:
    right = _predict(judge, samples.images)[attribute] == samples.labels[attribute]
    return Row(measure, accuracy(right, 1), needed, note=_list(_by_value(right, samples.labels[attribute], names)))


def _by_value(right: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Share of what is right (N,), for each value that labels (N,) have."""
    return {names[i]: accuracy(right[labels == i], 1) for i in labels.unique().tolist()}


def _list(values: Mapping[str, float], form: str = "{:.0%}") -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())


def _predict(judge: ToyworldJudge, images: Tensor) -> dict[str, Tensor]:
    parts = [judge.predict(part) for part in images.split(BATCH)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def _embed(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Features (N, D) of images (N, 3, 64, 64)."""
    return torch.cat([network(part) for part in images.split(BATCH)])


def _probe(features: Tensor, labels: Tensor, test_features: Tensor) -> Tensor:
    """Labels (M,) that logistic regression on (N, D) and (N,) gives to (M, D)."""
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
