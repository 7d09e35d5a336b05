"""Pictures and films of a report, as data URIs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

GAP = 2  # white pixels between images of separate runs, as in a grid
LOSSLESS_BYTES = 1_500_000  # of all files together, up to which nothing is lost
QUALITY = 90
SMALL = 128  # pixels: images up to this size are shown pixel by pixel


@dataclass(frozen=True)
class Picture:
    """A picture as a page needs it; `is_small`: its particles have few pixels."""

    uri: str
    width: int
    height: int
    is_small: bool


def encode(files: Sequence[Path], lossless: bool) -> Picture:
    """WebP of one image, or of several beside one another."""
    image = _joined([Image.open(file).convert("RGB") for file in files])
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    else:
        image.save(buffer, "WEBP", quality=QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/webp;base64,{data}", *image.size, _particle_size(files[0]) <= SMALL)


def may_be_lossless(files: Sequence[Path]) -> bool:
    """Whether all these images together are few enough to lose nothing."""
    return sum(file.stat().st_size for file in files) <= LOSSLESS_BYTES


def film_uri(file: Path) -> str:
    """An MP4 as a data URI."""
    return f"data:video/mp4;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _joined(images: Sequence[Image.Image]) -> Image.Image:
    """Images of one size in a row."""
    if len(images) == 1:
        return images[0]
    width, height = images[0].size
    row = Image.new("RGB", (len(images) * (width + GAP) - GAP, height), "white")
    for index, image in enumerate(images):
        row.paste(image, (index * (width + GAP), 0))
    return row


def _particle_size(grid: Path) -> int:
    """Longer side of one particle's image, where such lie in a folder beside the grid; else the grid's shorter side."""
    for file in grid.parent.glob("*test*/**/*.png"):
        with Image.open(file) as image:
            return max(image.size)
    with Image.open(grid) as image:
        return min(image.size)
