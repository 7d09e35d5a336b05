"""Remarks and JSON records of evaluated image sets: which networks measured what, and how far to trust the numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..repulsion.features import HUB_IDS
from .image_sets import ImageSet
from .instruments import TO_REFERENCE, TO_TRUTH, WITHIN_GROUPS, Instruments, Measurement

FEW = 50  # below this number of images, the distance to a reference is mostly bias

Size = tuple[int, int]  # height, width


def image_sizes(image_set: ImageSet) -> list[Size]:
    """Sorted sizes (height, width) of a set's images, each once.

    All images are read, so that a broken file is reported before anything is measured.

    Args:
        image_set: the images.

    Raises:
        UserError: an image cannot be read.
    """
    shapes = (image.shape for group in image_set.groups for image in group.images)
    return sorted({(shape[1], shape[2]) for shape in shapes})


def is_guided(key: str, image_set: ImageSet, instruments: Instruments) -> bool:
    """Whether the network behind a metric guided the repulsion of the images, which flatters the metric.

    Args:
        key: key of the metric, such as `diversity_dino`.
        image_set: the images.
        instruments: what measured them.
    """
    network = _network_of(key, image_set, instruments)
    return network is not None and _is_same(network, image_set.guide)


def held_out_network(image_set: ImageSet, instruments: Instruments) -> str | None:
    """The first feature network that took no part in the guidance of the images; None if all did."""
    return next((name for name in instruments.options.features if not _is_same(name, image_set.guide)), None)


def set_record(
    image_set: ImageSet, sizes: Sequence[Size], result: Mapping[str, Measurement], instruments: Instruments
) -> dict[str, Any]:
    """Record of an evaluated set for JSON.

    Args:
        image_set: the images.
        sizes: their sizes.
        result: metrics by key.
        instruments: what measured them.
    """
    compared = not result.keys().isdisjoint(TO_REFERENCE)
    return {
        "label": image_set.label,
        "images": len(image_set),
        "groups": len(image_set.groups),
        "sizes": list(sizes),
        "prompts": image_set.prompts(),
        "bundled": instruments.is_bundled(image_set),
        "guide": image_set.guide,
        "held_out": held_out_network(image_set, instruments),
        "reference": instruments.options.reference if compared else None,
        "reference_features": instruments.reference_features(image_set) if compared else None,
        "metrics": {key: value.record() for key, value in result.items() if math.isfinite(value.mean)},
    }


def write_remarks(
    sets: Sequence[ImageSet],
    sizes: Sequence[Sequence[Size]],
    results: Sequence[Mapping[str, Measurement]],
    instruments: Instruments,
) -> list[str]:
    """Sentences that a reader of the metrics needs, and reasons for metrics that are missing.

    Args:
        sets: the image sets.
        sizes: sizes of the images of each set.
        results: metrics of each set by key.
        instruments: what measured them.
    """
    return [
        *_about_guides(sets, results, instruments),
        *_about_reference(sets, results, instruments),
        *_about_sizes(sizes),
        *_about_options(results, instruments),
        *(f"Left out: {', '.join(keys)}: {why}" for why, keys in instruments.left_out.items()),
    ]


def _about_guides(
    sets: Sequence[ImageSet], results: Sequence[Mapping[str, Measurement]], instruments: Instruments
) -> list[str]:
    guides = {
        each.guide
        for each, result in zip(sets, results, strict=True)
        if any(is_guided(key, each, instruments) for key in result)
    }
    lines = [
        f"* {guide} guided the repulsion of these images, which flatters them: compare another network's numbers."
        for guide in sorted(filter(None, guides))
    ]
    if any(each.guide and held_out_network(each, instruments) is None for each in sets):
        lines.append("All networks took part in the guidance: add one to --features, such as dino,clip.")
    return lines


def _about_reference(
    sets: Sequence[ImageSet], results: Sequence[Mapping[str, Measurement]], instruments: Instruments
) -> list[str]:
    pairs = zip(sets, results, strict=True)
    compared = [each for each, result in pairs if not result.keys().isdisjoint(TO_REFERENCE)]
    if not compared:
        return []
    networks = sorted({instruments.reference_features(each) for each in compared})
    lines = [
        f"{', '.join(TO_REFERENCE)}: features of {' and '.join(networks)}, reference {instruments.options.reference}; "
        "only sets of equal size can be compared."
    ]
    if min(len(each) for each in compared) < FEW:
        lines.append(f"With fewer than {FEW} images the distance to a reference is mostly bias.")
    return lines


def _about_sizes(sizes: Sequence[Sequence[Size]]) -> list[str]:
    different = {size for each in sizes for size in each}
    if len(different) == 1 and all(height == width for height, width in different):
        return []
    shown = ", ".join(f"{width}x{height}" for height, width in sorted(different))
    return [f"Sizes: {shown}. Each network resizes to its own square; psnr, ssim and lpips do not resize."]


def _about_options(results: Sequence[Mapping[str, Measurement]], instruments: Instruments) -> list[str]:
    """Metrics that a further option would add."""
    if instruments.options.metrics is not None:
        return []
    found = {key for result in results for key in result}
    missing = {"--reference": TO_REFERENCE, "--truth": TO_TRUTH}
    if instruments.options.reference is not None:
        del missing["--reference"]
    hints = [f"{', '.join(names)} ({option})" for option, names in missing.items() if found.isdisjoint(names)]
    return [f"Not measured without an option: {'; '.join(hints)}."] if hints else []


def _network_of(key: str, image_set: ImageSet, instruments: Instruments) -> str | None:
    """Feature network behind a metric; None where there is none."""
    for name in WITHIN_GROUPS:
        if key.startswith(f"{name}_"):
            return key.removeprefix(f"{name}_")
    if key in TO_REFERENCE:
        return instruments.reference_features(image_set)
    return instruments.options.clip if key == "clip_score" else None


def _is_same(network: str, guide: str | None) -> bool:
    return guide is not None and HUB_IDS.get(network, network) == HUB_IDS.get(guide, guide)
