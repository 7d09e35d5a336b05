"""`rsd export-images`: images of a run in the form that image-to-3D models take."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import make_folder, write_json
from ..names import FEATURE_NETWORKS
from .options import CommandParser, Parsers, add_command, any_path, positive_int

BACKGROUNDS = ("auto", "keep", "rembg")
BUNDLED = "bundled"
KEY = "pretrained_model_name_or_path"


def add_parser(commands: Parsers) -> None:
    """Add `rsd export-images`."""
    add_command(
        commands,
        "export-images",
        run,
        _add_arguments,
        "Write the images of a run as cut-out, centered squares, which image-to-3D models take.",
        "docs/guides/image-to-3d.md says when this route is the better one, and how to go on.",
    )


def run(args: argparse.Namespace) -> int:
    """Write the images, and images.json with their sources.

    Raises:
        UserError: the run has no images, or fewer than are wanted.
    """
    from ..images import open_image, save_image
    from ..images.reading import to_tensor

    files, prompt = _source(args.path)
    images = [to_tensor(open_image(file, "PATH")) for file in files]
    chosen = _choose(images, args.number, args.features or _features_of(args.path))
    make_folder(args.output)
    cut = _cutter(args.background, args.size)
    entries: list[dict[str, Any]] = []
    for number, index in enumerate(chosen):
        image, is_cut = cut(images[index])
        name = f"{number:02d}.png"
        save_image(image, args.output / name)
        entries.append({"image": name, "source": str(files[index]), "has_opacity": is_cut})
    write_json(args.output / "images.json", {"command": args.command, "prompt": prompt, "images": entries})
    opaque = sum(not entry["has_opacity"] for entry in entries)
    print(f"{args.output}: {len(entries)} images of {args.size} pixels")
    if opaque and args.background != "keep":
        print(f"{opaque} have no even background and were not cut out; the image-to-3D model must remove it.")
    return 0


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "path", type=any_path, metavar="PATH", help="trial folder of a run on images, or folder of images"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument(
        "-n", "--number", type=positive_int, metavar="N", help="write the N images farthest apart only; all by default"
    )
    parser.add_argument(
        "--features",
        choices=(BUNDLED, *FEATURE_NETWORKS),
        metavar="NETWORK",
        help=f"feature network for -n: {BUNDLED}, {', '.join(FEATURE_NETWORKS)}; by default the run's own DINO",
    )
    parser.add_argument("--size", type=positive_int, default=1024, metavar="PIXELS", help="side of the written images")
    parser.add_argument(
        "--background",
        choices=BACKGROUNDS,
        default="auto",
        help="auto: cut out where the background is even; keep: as it is; rembg: with the library rembg",
    )


def _source(path: Path) -> tuple[list[Path], str | None]:
    """Image files and prompt of a trial folder or a folder of images."""
    from ..images import list_images
    from ..runs.result_files import read_metrics

    if not (path / "save").is_dir():
        return list_images(path, "PATH"), None
    metrics = read_metrics(path) or {}
    files = sorted((path / "save" / "test").glob("particle_*.png"))
    if not files:
        raise UserError(
            f"{str(path)!r} holds no images of a finished run (save/test/particle_*.png); accepted: the trial folder "
            "of a 2D run, or a folder of images."
        )
    return files, metrics.get("prompt")


def _features_of(path: Path) -> str:
    """Feature network for the images of a run: that of the bundled world, or DINO."""
    from ..priors import is_bundled
    from ..runs.result_files import read_config

    config = read_config(path) if (path / "save").is_dir() else {}
    model = config.get(f"system.guidance.{KEY}", config.get(f"system.{KEY}"))
    return BUNDLED if model is not None and is_bundled(str(model)) else "dino"


def _choose(images: list[Any], number: int | None, features: str) -> list[int]:
    """Indices of the images to write."""
    if number is None:
        return list(range(len(images)))
    if number > len(images):
        raise UserError(f"--number={number} is more than the {len(images)} images; accepted: at most that.")
    import torch

    from ..distillation.noises.selection import select_distant
    from ..images.cutout import fit_square
    from ..repulsion import load_features

    network = load_features("dino" if features == BUNDLED else features, bundled=features == BUNDLED)
    size = min(min(image.shape[-2:]) for image in images)
    with torch.no_grad():
        embedded = torch.cat([network(fit_square(image, size)[None]).flatten(1) for image in images])
    return select_distant(embedded, number)


def _cutter(background: str, size: int) -> Any:
    """Function from an image (3, H, W) to the image to write, and whether it has opacity."""
    from ..images.cutout import cut_out, find_object, fit_square

    def cut(image: Any) -> tuple[Any, bool]:
        mask = None
        if background == "auto":
            mask = find_object(image)
        elif background == "rembg":
            mask = _rembg_mask(image)
        return (fit_square(image, size), False) if mask is None else (cut_out(image, mask, size), True)

    return cut


def _rembg_mask(image: Any) -> Any:
    """Mask (H, W) of the object by the library rembg."""
    import numpy as np
    import torch
    from PIL import Image

    from ..errors import require

    rembg: Any = require("rembg")
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    mask = torch.from_numpy(np.array(rembg.remove(Image.fromarray(pixels), only_mask=True))) > 127
    return mask if mask.any() else None
