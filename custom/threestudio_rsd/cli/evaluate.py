"""`rsd evaluate`: every metric of any images, beside one another."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError, first_line, one_of
from ..evaluation.image_sets import ImageSet, list_reference, read_image_sets
from ..evaluation.instruments import (
    METRIC_NAMES,
    TO_REFERENCE,
    TO_TRUTH,
    WITHIN_GROUPS,
    Instruments,
    Measurement,
    Options,
)
from ..files import make_folder, write_whole
from ..metrics.aesthetic import HEAD
from ..repulsion.features import HUB_IDS, NAMES
from ..runs.trial import versions
from ..text_tables import format_number, format_table

SECTIONS = {  # of the terminal's tables; what no other has is in the last
    "Within a prompt": tuple(WITHIN_GROUPS),
    "Text and looks": ("clip_score", "aesthetic"),
    "Against the reference": tuple(TO_REFERENCE),
    "Against the truths": TO_TRUTH,
    "What the bundled world's judge sees": (),
}
IN_FILE_ONLY = "total_variation"  # of attributes: of a few images it says little
FORMS = {
    "vendi": ".2f",
    "aesthetic": ".2f",
    "frechet": ".2f",
    "kid": ".4f",
    "psnr": ".2f",
    "colors": ".2f",
    "modes": ".2f",
}
FEW = 50  # images, below which the distance to a reference is mostly bias


def main(argv: Sequence[str] | None = None) -> int:
    """Measure images: tables on the terminal, and a JSON file with --output.

    Raises:
        UserError: a path, an image or an argument that is impossible.
    """
    argv = list(argv or [])
    args = _parser().parse_args(argv)
    options = _options(args)
    if args.output is not None:
        if args.output.is_dir():
            raise UserError(f"--output={str(args.output)!r} is a folder; accepted: a file, such as metrics.json.")
        make_folder(args.output.parent)
    sets = read_image_sets(args.paths, args.prompt, args.truth)
    sizes = [_sizes(image_set) for image_set in sets]
    instruments = Instruments(options)
    results = []
    for number, image_set in enumerate(sets, start=1):
        print(f"[{number}/{len(sets)}] {image_set.label}: {len(image_set)} images", flush=True)
        results.append(instruments.measure(image_set))
    for title, table in _tables(sets, results, instruments):
        print(f"\n{title}\n{table}")
    print("".join(f"\n{line}" for line in _remarks(sets, sizes, results, instruments)))
    if args.output is not None:
        records = [_record(*each, instruments) for each in zip(sets, sizes, results, strict=True)]
        record = {"command": f"rsd evaluate {' '.join(argv)}", "versions": versions("torchmetrics"), "sets": records}
        left_out = [{"metrics": keys, "why": why} for why, keys in instruments.left_out.items()]
        write_whole(args.output, json.dumps(record | {"left_out": left_out}, indent=1) + "\n")
        print(f"Results: {args.output}")
    return 0


def _options(args: argparse.Namespace) -> Options:
    metrics = None if args.metrics is None else _split("--metrics", args.metrics)
    for name in metrics or ():
        one_of("--metrics", name, METRIC_NAMES)
    features = _split("--features", args.features)
    for key, names in (("--features", features), ("--clip", [args.clip])):
        for name in names:
            _check_network(key, name, NAMES)
    if args.reference_features is not None:
        _check_network("--reference-features", args.reference_features, ("inception", "judge", *NAMES))
    if args.reference not in (None, "bundled"):
        list_reference(Path(args.reference), "--reference")
    for name in metrics or ():
        if name in TO_REFERENCE and args.reference is None:
            raise UserError(f"--metrics={name} needs --reference; accepted: a folder of images, or bundled.")
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise UserError(
            f"--device={args.device!r} cannot be used ({first_line(error)}); accepted: cpu, cuda."
        ) from error
    return Options(
        metrics,
        features,
        args.clip,
        args.aesthetic,
        args.reference,
        args.reference_features,
        args.bundled,
        args.device,
    )


def _split(key: str, text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UserError(f"{key}={text!r} names nothing; accepted: names with commas between them.")
    return names


def _check_network(key: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names and "/" not in name and not Path(name).is_dir():
        raise UserError(f"{key}={name!r} is unknown; accepted: {', '.join(names)}, a folder or a hub id.")


def _sizes(image_set: ImageSet) -> list[tuple[int, int]]:
    """Every different (height, width); reads all images, so that a broken one is named before anything is measured."""
    shapes = (image.shape for group in image_set.groups for image in group.images)
    return sorted({(shape[1], shape[2]) for shape in shapes})


def _tables(
    sets: list[ImageSet], results: list[dict[str, Measurement]], instruments: Instruments
) -> list[tuple[str, str]]:
    keys = list(dict.fromkeys(key for result in results for key in result if not key.startswith(IN_FILE_ONLY)))
    tables = []
    for title, names in SECTIONS.items():
        shown = [key for key in keys if (_name(key) in names if names else _section_of(key) is None)]
        if not shown:
            continue
        rows = []
        for image_set, result in zip(sets, results, strict=True):
            cells = []
            for key in shown:
                text = format_number(result[key].mean if key in result else None, FORMS.get(_name(key), ".3f"))
                guided = key in result and _was_guide(key, image_set, instruments)
                cells.append(f"{text}*" if guided else text)
            rows.append([image_set.label, *cells])
        tables.append((title, format_table(["images", *(key.replace("_", " ") for key in shown)], rows)))
    return tables


def _name(key: str) -> str:
    """Metric of a key such as `diversity_dino`."""
    return next((name for name in WITHIN_GROUPS if key.startswith(f"{name}_")), key)


def _section_of(key: str) -> str | None:
    return next((title for title, names in SECTIONS.items() if _name(key) in names), None)


def _network_of(key: str, image_set: ImageSet, instruments: Instruments) -> str | None:
    """The feature network behind a number, if there is one."""
    name = _name(key)
    if name in WITHIN_GROUPS:
        return key.removeprefix(f"{name}_")
    if name in TO_REFERENCE:
        return instruments.reference_features(image_set)
    return instruments.options.clip if name == "clip_score" else None


def _was_guide(key: str, image_set: ImageSet, instruments: Instruments) -> bool:
    network = _network_of(key, image_set, instruments)
    return network is not None and _is_same(network, image_set.guide)


def _is_same(network: str, guide: str | None) -> bool:
    return guide is not None and HUB_IDS.get(network, network) == HUB_IDS.get(guide, guide)


def _judge(image_set: ImageSet, instruments: Instruments) -> str | None:
    """The first network that took no part in the guidance."""
    return next((name for name in instruments.options.features if not _is_same(name, image_set.guide)), None)


def _remarks(
    sets: list[ImageSet],
    sizes: list[list[tuple[int, int]]],
    results: list[dict[str, Measurement]],
    instruments: Instruments,
) -> list[str]:
    """What a reader of the tables must know."""
    lines = []
    pairs = list(zip(sets, results, strict=True))
    guides = {each.guide for each, result in pairs if any(_was_guide(key, each, instruments) for key in result)}
    for guide in sorted(filter(None, guides)):
        lines.append(f"* {guide} guided the repulsion of these images and flatters them: judge by another network.")
    if any(each.guide and _judge(each, instruments) is None for each in sets):
        lines.append("No network that took no part in the guidance measured: add one to --features, such as dino,clip.")
    compared = [each for each, result in pairs if not result.keys().isdisjoint(TO_REFERENCE)]
    if compared:
        networks = sorted({instruments.reference_features(each) for each in compared})
        lines.append(
            f"{', '.join(TO_REFERENCE)}: features of {' and '.join(networks)}, reference "
            f"{instruments.options.reference}; compare sets of as many images only."
        )
        if min(len(each) for each in compared) < FEW:
            lines.append(f"Of fewer than {FEW} images the distance to a reference is mostly bias.")
    different = {size for each in sizes for size in each}
    if len(different) > 1 or any(height != width for height, width in different):
        shown = ", ".join(f"{width}x{height}" for height, width in sorted(different))
        lines.append(f"Sizes: {shown}. Each network resizes to its own square; psnr, ssim and lpips resize nothing.")
    if instruments.options.metrics is None:
        found = {key for result in results for key in result}
        missing = [("--reference", TO_REFERENCE), ("--truth", TO_TRUTH)]
        hints = [f"{', '.join(names)} ({key})" for key, names in missing if found.isdisjoint(names)]
        if instruments.options.reference is not None:
            hints = [hint for hint in hints if "--reference" not in hint]
        if hints:
            lines.append(f"Not measured without an option: {'; '.join(hints)}.")
    return lines + [f"Left out: {', '.join(keys)}: {why}" for why, keys in instruments.left_out.items()]


def _record(
    image_set: ImageSet, sizes: list[tuple[int, int]], result: dict[str, Measurement], instruments: Instruments
) -> dict[str, Any]:
    """One set, for JSON."""
    compared = not result.keys().isdisjoint(TO_REFERENCE)
    return {
        "label": image_set.label,
        "images": len(image_set),
        "groups": len(image_set.groups),
        "sizes": sizes,
        "prompts": image_set.prompts(),
        "bundled": instruments.is_bundled(image_set),
        "guide": image_set.guide,
        "judge": _judge(image_set, instruments),
        "reference": instruments.options.reference if compared else None,
        "reference_features": instruments.reference_features(image_set) if compared else None,
        "metrics": {key: value.record() for key, value in result.items() if math.isfinite(value.mean)},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsd evaluate",
        description="Measure images. Diversity is measured within each prompt (measurement, camera) and averaged.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="RUN_OR_FOLDER",
        help="trial folders, folders of trials or of images (with prompts.txt or prompts.json), image files",
    )
    parser.add_argument("--metrics", help=f"of {','.join(METRIC_NAMES)}; default: all that the images allow")
    parser.add_argument(
        "--features",
        default="dino,clip",
        help=f"of similarity, diversity and vendi: {', '.join(NAMES)}, folders or hub ids (default: dino,clip)",
    )
    parser.add_argument("--prompt", help="of all images, in place of their own")
    parser.add_argument("--reference", help="folder of images, or bundled: renders of the bundled world")
    parser.add_argument(
        "--reference-features",
        help="inception, judge (the bundled world's), or as --features; "
        "default: judge on the bundled world, else inception",
    )
    parser.add_argument("--truth", type=Path, help="folder of what the images should be, by file name, or one image")
    parser.add_argument("--clip", default="clip", help="of the CLIP score: clip, a folder or a hub id (default: clip)")
    parser.add_argument("--aesthetic", default=HEAD, help=f"weights of the aesthetic head (default: {HEAD})")
    parser.add_argument(
        "--bundled",
        action="store_true",
        help="the images are of the bundled world: its own networks measure (known of runs on the bundled prior)",
    )
    parser.add_argument("--output", type=Path, help="JSON file of every number")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where the networks run (default: cuda where there is one)",
    )
    return parser
