"""All trainings, with the ones that each of them needs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .data import Renders, load_renders


def _autoencoder(renders: Renders, held_out: Renders, work: Path) -> None:
    from .autoencoder import train_autoencoder

    train_autoencoder(renders, held_out, work / "trainings" / "autoencoder", work / "text-to-image" / "vae")


def _judge(renders: Renders, held_out: Renders, work: Path) -> None:
    from .judge import train_judge

    train_judge(renders, held_out, work / "trainings" / "judge", work / "judge")


def _clip(renders: Renders, held_out: Renders, work: Path) -> None:
    from .clip import train_clip

    train_clip(renders, held_out, work / "trainings" / "clip", work / "clip")


def _dino(renders: Renders, held_out: Renders, work: Path) -> None:
    from .dino import train_dino

    train_dino(renders, held_out, work / "trainings" / "dino", work / "dino")


def _text_to_image(renders: Renders, held_out: Renders, work: Path) -> None:
    from .text_to_image import train_text_to_image

    train_text_to_image(renders, work / "trainings" / "text-to-image", work / "text-to-image")


def _pixel(renders: Renders, held_out: Renders, work: Path) -> None:
    from .pixel import train_pixel

    train_pixel(renders, work / "trainings" / "pixel", work / "pixel")


def _flow(renders: Renders, held_out: Renders, work: Path) -> None:
    from .flow import train_flow

    train_flow(renders, work / "text-to-image", work / "trainings" / "flow", work / "flow")


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        run: function of training images, held-out images and the work folder.
        needs: names of the stages that must be finished before.
    """

    run: Callable[[Renders, Renders, Path], None]
    needs: tuple[str, ...] = ()


STAGES = {
    "autoencoder": Stage(_autoencoder),
    "judge": Stage(_judge),
    "clip": Stage(_clip),
    "dino": Stage(_dino),
    "pixel": Stage(_pixel),
    "text-to-image": Stage(_text_to_image, needs=("autoencoder",)),
    "flow": Stage(_flow, needs=("text-to-image",)),
}


def run_stage(name: str, work: Path) -> None:
    """Run one training, and mark it as finished by an empty file `NAME.done`.

    Args:
        name: one of STAGES.
        work: work folder, which holds the rendered images.
    """
    data = work / "data"
    STAGES[name].run(load_renders(data), load_renders(data, held_out=True), work)
    (work / f"{name}.done").touch()
