"""`rsd evaluate`: metrics of runs, folders and images, side by side."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, one_of
from ..files import make_folder, write_json
from ..names import AESTHETIC_HEAD, EVALUATION_METRICS, FEATURE_NETWORKS
from ..text_tables import format_table
from .options import CommandParser, Parsers, add_command, add_option, any_path, new_file, usable_device

if TYPE_CHECKING:
    from ..evaluation.image_sets import ImageSet
    from ..evaluation.instruments import Instruments, Measurement, Options

IN_FILE_ONLY = "total_variation"  # from attributes; of a few images it says little


def add_parser(commands: Parsers) -> None:
    """Add `rsd evaluate`."""
    add_command(
        commands,
        "evaluate",
        run,
        _add_arguments,
        "Measure runs, folders and images.",
        "Diversity is measured among the images of each prompt, measurement or camera, and averaged.",
    )


def run(args: argparse.Namespace) -> int:
    """Measure images: prints tables, and writes a JSON file with --output.

    Raises:
        UserError: an impossible path, image or argument.
    """
    from ..evaluation.image_sets import read_image_sets
    from ..evaluation.instruments import Instruments
    from ..evaluation.remarks import image_sizes, set_record, write_remarks
    from ..runs.trial import versions

    options = _options(args)
    if args.output is not None:
        make_folder(args.output.parent)
    sets = read_image_sets(args.paths, args.prompt, args.truth)
    sizes = [image_sizes(image_set) for image_set in sets]
    instruments = Instruments(options)
    results = []
    for number, image_set in enumerate(sets, start=1):
        print(f"[{number}/{len(sets)}] {image_set.label}: {len(image_set)} images", flush=True)
        results.append(instruments.measure(image_set))
    for title, table in _tables(sets, results, instruments):
        print(f"\n{title}\n{table}")
    print("".join(f"\n{line}" for line in write_remarks(sets, sizes, results, instruments)))
    if args.output is not None:
        record = {
            "command": args.command,
            "versions": versions("torchmetrics"),
            "sets": [set_record(*each, instruments) for each in zip(sets, sizes, results, strict=True)],
            "left_out": [{"metrics": keys, "why": why} for why, keys in instruments.left_out.items()],
        }
        write_json(args.output, record)
        print(f"Results: {args.output}")
    return 0


def _options(args: argparse.Namespace) -> "Options":
    from ..evaluation.image_sets import list_reference
    from ..evaluation.instruments import TO_REFERENCE, Options

    metrics = None if args.metrics is None else _split("--metrics", args.metrics)
    for name in metrics or ():
        one_of("--metrics", name, EVALUATION_METRICS)
        if name in TO_REFERENCE and args.reference is None:
            raise UserError(f"--metrics={name} needs --reference; accepted: a folder of images, or bundled.")
    features = _split("--features", args.features)
    for name in features:
        _check_network("--features", name, FEATURE_NETWORKS)
    _check_network("--clip", args.clip, FEATURE_NETWORKS)
    if args.reference_features is not None:
        _check_network("--reference-features", args.reference_features, ("inception", "judge", *FEATURE_NETWORKS))
    if args.reference not in (None, "bundled"):
        list_reference(Path(args.reference), "--reference")
    return Options(
        metrics=metrics,
        features=features,
        clip=args.clip,
        aesthetic=args.aesthetic,
        reference=args.reference,
        reference_features=args.reference_features,
        is_bundled=args.bundled,
        device=usable_device(args.device),
    )


def _split(key: str, text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UserError(f"{key}={text!r} names nothing; accepted: names with commas between them.")
    return names


def _check_network(key: str, name: str, names: Sequence[str]) -> None:
    if name not in names and "/" not in name and not Path(name).is_dir():
        raise UserError(f"{key}={name!r} is unknown; accepted: {', '.join(names)}, a folder or a hub id.")


def _tables(
    sets: "Sequence[ImageSet]", results: "Sequence[Mapping[str, Measurement]]", instruments: "Instruments"
) -> list[tuple[str, str]]:
    """Title and table of each section of metrics; an asterisk marks metrics of the network that guided the images."""
    from ..evaluation.remarks import is_guided
    from ..metrics.names import SECTIONS, metric_info

    keys = list(dict.fromkeys(key for result in results for key in result if not key.startswith(IN_FILE_ONLY)))
    tables = []
    for section, title in SECTIONS.items():
        shown = {key: metric_info(key) for key in keys if metric_info(key).section == section}
        if not shown:
            continue
        rows = []
        for image_set, result in zip(sets, results, strict=True):
            cells = []
            for key, info in shown.items():
                mark = "*" if key in result and is_guided(key, image_set, instruments) else ""
                cells.append(info.format(result[key].mean if key in result else None) + mark)
            rows.append([image_set.label, *cells])
        tables.append((title, format_table(["images", *(info.title for info in shown.values())], rows)))
    return tables


def _add_arguments(parser: CommandParser) -> None:
    networks = f"{', '.join(FEATURE_NETWORKS)}, a folder or a hub id"
    parser.add_argument(
        "paths",
        nargs="+",
        type=any_path,
        metavar="RUN_OR_FOLDER",
        help="trial folders, folders of trials, folders of images (with prompts.txt or prompts.json) and image files",
    )
    parser.add_argument(
        "--metrics", help=f"some of {','.join(EVALUATION_METRICS)}; by default all that the images allow"
    )
    parser.add_argument(
        "--features",
        default="dino,clip",
        help=f"feature networks of similarity, diversity and Vendi score; each is {networks}",
    )
    parser.add_argument("--prompt", help="prompt of all images, in place of their own")
    parser.add_argument("--reference", help="folder of images, or bundled: renders of the bundled world")
    parser.add_argument(
        "--reference-features",
        help="network of the comparison with the reference: inception, judge (the bundled world's classifier), or as "
        "for --features; by default judge on the bundled world, else inception",
    )
    parser.add_argument("--truth", type=any_path, help="folder of the true images, found by file name, or one image")
    parser.add_argument("--clip", default="clip", help=f"network of the CLIP score: {networks}")
    parser.add_argument("--aesthetic", default=AESTHETIC_HEAD, metavar="FILE", help="weights of the aesthetic head")
    parser.add_argument(
        "--bundled",
        action="store_true",
        help="the images are of the bundled world, so that its own networks measure them; runs on the bundled prior "
        "are recognized",
    )
    parser.add_argument("--output", type=new_file, metavar="FILE", help="JSON file for all numbers")
    add_option(parser, "--device")
