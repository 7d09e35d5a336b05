"""Makes docs/readme.png: one prompt by SDS, by fixed noise, and as 3D objects, each with eight pictures.

python docs/readme_picture.py --output outputs/readme    (5 minutes on 2 cores; finished runs are not repeated)
"""

import argparse
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "readme.png"
SIZE, GAP, LABEL = 112, 6, 150  # pixels: of an image, between images, and the width of the labels
STEPS_3D = 300
VIEWS = (0, 2)  # of the 8 that the 3D run saves: front and side
ROWS = {  # label, with the config and the values of its run
    "SDS": ("configs/text2image/sds.yaml", ["system.guidance.gamma=0", "system.particles.n_particles=8"]),
    "fixed noise\n(flow.yaml)": ("configs/text2image/flow.yaml", ["system.particles.n_particles=8"]),
    "fixed noise, 3D:\nfront and side of\nfour objects": (
        "configs/text2nerf/flow-bundled.yaml",
        ["data.n_test_views=9", f"trainer.max_steps={STEPS_3D}", f"trainer.val_check_interval={STEPS_3D}"],
    ),
}


def run(config: str, values: list[str], prompt: str, seed: int, folder: Path) -> Path:
    """Run `rsd launch` unless it has finished; returns the folder of its results."""
    if not (folder / "save" / "metrics.json").is_file():
        settings = {
            "exp_root_dir": folder.parent.parent,
            "name": folder.parent.name,
            "tag": folder.name,
            "use_timestamp": "false",
            "seed": seed,
            "system.prompt_processor.prompt": prompt,
        }
        overrides = [*(f"{key}={value}" for key, value in settings.items()), *values]
        command = [sys.executable, "-m", "threestudio_rsd.cli", "launch", "--config", config, "--train", *overrides]
        subprocess.run(command, check=True, cwd=ROOT)
    return folder / "save"


def images(save: Path) -> list[Image.Image]:
    """Eight images of a run: its particles, or views of its objects."""
    objects = sorted(each for each in save.glob("it*-test/particle_*") if each.is_dir())
    if not objects:
        return [Image.open(file).convert("RGB") for file in sorted(save.glob("test/particle_*.png"))[:8]]
    files = [each / f"{view}.png" for each in objects for view in VIEWS]
    return [Image.open(file).convert("RGB").crop((0, 0, 64, 64)) for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", default="a mushroom")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "readme", help="folder of the runs")
    args = parser.parse_args()
    sheet = Image.new("RGB", (LABEL + 8 * (SIZE + GAP), len(ROWS) * (SIZE + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, (label, (config, values)) in enumerate(ROWS.items()):
        top = GAP + row * (SIZE + GAP)
        draw.multiline_text((GAP, top + SIZE // 3), label, fill="black", font=font)
        folder = args.output.resolve() / args.prompt.replace(" ", "-") / f"row{row}-seed{args.seed}"
        for column, image in enumerate(images(run(config, values, args.prompt, args.seed, folder))):
            sheet.paste(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC), (LABEL + column * (SIZE + GAP), top))
    sheet.save(PICTURE, optimize=True)
    print(PICTURE)


if __name__ == "__main__":
    main()
